//! How far long work has come, for whoever watches a terminal.

use std::io::{self, IsTerminal, Write};

use crate::Context;

/// Shows `DONE of ALL what` on one line that is written over; nothing where nobody watches.
pub(crate) fn shown(what: &'static str, context: &Context<'_>) -> impl FnMut(usize, usize) {
    let watched = io::stderr().is_terminal() && !context.common.quiet;
    move |done, all| {
        if watched {
            let end = if done == all { "\n" } else { "" };
            eprint!("\r{done} of {all} {what}{end}");
            let _ = io::stderr().flush();
        }
    }
}
