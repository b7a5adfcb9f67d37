//! The first command a newcomer runs, without a terminal.

use std::time::{Duration, Instant};

use sealmoot_tests::binaries::Program;
use sealmoot_tests::home::Home;

const WITHIN: Duration = Duration::from_secs(15);

#[test]
fn the_demo_shows_every_property_and_leaves_nothing_behind() {
    let home = Home::new();
    std::fs::create_dir(home.path("tmp")).expect("a directory");
    // Building is not part of it.
    let run = home
        .run(Program::Kvd, "demo")
        .env("TMPDIR", home.path("tmp"));
    let started = Instant::now();
    let outcome = run.finish();
    let took = started.elapsed();

    outcome.succeeded();
    assert!(took < WITHIN, "it took {took:?}");
    let shown = format!("{}{}", outcome.text(), outcome.stderr);
    for property in ["no_quorum", "on no disk", "locked"] {
        assert!(shown.contains(property), "{property:?} is not in {shown}");
    }
    let left = sealmoot_tests::files::walk(&home.path("tmp"));
    assert!(left.is_empty(), "{left:?}");
    let running = processes_of(&home);
    assert!(running.is_empty(), "still running: {running:?}");
}

/// Processes whose environment or arguments name this home.
fn processes_of(home: &Home) -> Vec<String> {
    let needle = home.path("").display().to_string();
    let needle = needle.trim_end_matches('/').as_bytes().to_vec();
    let processes = std::fs::read_dir("/proc").expect("the process file system");
    processes
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            path.file_name()?.to_str()?.parse::<u32>().ok()?;
            let arguments = std::fs::read(path.join("cmdline")).ok()?;
            let environment = std::fs::read(path.join("environ")).ok()?;
            let all = [arguments.clone(), environment].concat();
            let named = sealmoot_tests::files::contains(&all, &needle);
            named.then(|| String::from_utf8_lossy(&arguments).into_owned())
        })
        .collect()
}
