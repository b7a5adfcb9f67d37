//! The same work on many things, on all processors.

use std::num::NonZero;
use std::thread;

/// Most threads at once.
const THREADS_MAX: usize = 8;
/// Fewer things than this a thread are not worth one.
const THINGS_MIN: usize = 64;

/// `work` of each of `things`, in their order; at the first error what is left of its
/// share is not begun.
///
/// # Errors
/// The error of the earliest thing that was begun and failed.
///
/// # Panics
/// When `work` does.
pub fn try_map<T, R, E>(things: &[T], work: impl Fn(&T) -> Result<R, E> + Sync) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
{
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors
        .min(THREADS_MAX)
        .min(things.len() / THINGS_MIN)
        .max(1);
    if threads == 1 {
        return things.iter().map(work).collect();
    }
    let share = things.len().div_ceil(threads);
    let work = &work;
    let mut done = Vec::with_capacity(things.len());
    thread::scope(|scope| {
        let running: Vec<_> = things
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().map(work).collect::<Result<Vec<R>, E>>()))
            .collect();
        for thread in running {
            match thread.join() {
                Ok(results) => done.extend(results?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_whatever_the_number() {
        for count in [0, 1, 63, 64, 129, 1000] {
            let things: Vec<usize> = (0..count).collect();
            let doubled = try_map(&things, |thing| Ok::<_, ()>(2 * thing)).expect("no error");
            assert_eq!(
                doubled,
                (0..count).map(|thing| 2 * thing).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn one_error_is_the_error_of_all() {
        let things: Vec<usize> = (0..1000).collect();
        for bad in [0, 499, 500, 999] {
            let outcome = try_map(
                &things,
                |thing| if *thing == bad { Err(bad) } else { Ok(()) },
            );
            assert_eq!(outcome, Err(bad));
        }
    }
}
