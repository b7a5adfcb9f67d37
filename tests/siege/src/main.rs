//! A server under resource attacks: what it costs, and whether honest clients
//! notice.
//!
//! ```text
//! siege                    every siege, about 90 s; exit code 1 when a budget is broken
//! siege --quick            shorter windows, for a look
//! siege --only slow,flood  those whose names contain one of the words
//! siege --strict           exit code 1 also when p99 misses its bar or is not measured
//! siege --threads          the server on a runtime of several threads
//! ```
//!
//! The program runs itself in three roles, each a process of its own: the
//! server under attack, the honest clients, and one process of attackers at a
//! time. The parent reads the server's memory and processor time from `/proc`.
//!
//! Attackers run at nice 19: they share the machine with the server here, and
//! would otherwise slow it merely by running. What they cost a server is what
//! they make *it* do.
//!
//! | module | idea |
//! |---|---|
//! | `plan` | which sieges there are |
//! | `parent` | runs them and prints the table |
//! | `budget` | what is allowed, judged as values |
//! | `process` | roles as child processes; memory and processor time |
//! | `server`, `honest` | the two roles that are lawful |
//! | `attack` | the one that is not |
//! | `field` | addresses, keys and bytes that the roles agree on |

mod attack;
mod budget;
mod field;
mod honest;
mod parent;
mod plan;
mod process;
mod server;

use std::process::ExitCode;

// As in kvd, whose memory this stands for.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["server", rest @ ..] => server::run(rest.contains(&"--threads")),
        ["honest"] => honest::run(),
        ["attack", name, sources, milliseconds] => attack::run(name, sources, milliseconds),
        options => return parent::run(options),
    }
    ExitCode::SUCCESS
}
