//! No core files: what these programs hold in memory is not for a disk.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Makes sure that this process leaves no core file, whatever it inherited, and that
/// what it starts leaves none either.
///
/// The limit alone does not reach a core that the system pipes into a program instead
/// of a file (`core_pattern`), nor keep another process of the same user from reading
/// this one's memory. On Linux, not being dumpable does both; root can still debug it.
/// A process that it starts is dumpable again until it calls this itself.
///
/// # Errors
/// What the system says against it.
pub(super) fn forbid_core_files() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}
