//! Nobody panics: not even a task whose end nobody waits for.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// Each test has a thread, and its tasks run on no other.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts panics from now on. To be called first in each test.
pub fn count() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            report(info);
        }));
    });
}

/// To be called last in each test.
pub fn assert_none() {
    assert_eq!(PANICS.get(), 0, "something panicked; see above");
}

#[test]
fn a_panic_in_a_task_would_be_seen() {
    // Proved in a process of its own, because it would fail the other tests.
    if std::env::var_os("SEALMOOT_ATTACKS_PANIC").is_some() {
        count();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let _ = tokio::spawn(async { panic!("in a task") }).await;
        });
        assert_none();
        return;
    }
    let this = std::env::current_exe().expect("a path");
    let child = std::process::Command::new(this)
        .args([
            "--exact",
            "attacks::panics::a_panic_in_a_task_would_be_seen",
        ])
        .env("SEALMOOT_ATTACKS_PANIC", "1")
        .output()
        .expect("this test again");
    assert!(!child.status.success());
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(output.contains("1 failed"), "{output}");
}
