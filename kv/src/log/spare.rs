//! The next segment, made ready before it is needed.
//!
//! It is filled and synced under a name of its own. Only when its header is on
//! the medium too does it get a segment's name; so a file with a segment's name
//! always has its full size and a header, and a shorter one was cut.

use std::thread::{self, JoinHandle};

use crate::disk::{Disk, DiskError, DiskFile};

use super::layout::SPARE_NAME;
use super::options::LogOptions;

/// A segment in the making.
#[derive(Debug)]
pub(super) struct Spare<D: Disk> {
    disk: D,
    segment_bytes: u64,
    helper: Option<JoinHandle<Result<D::File, DiskError>>>,
}

impl<D: Disk> Spare<D> {
    /// Starts making a segment, if the options ask for it ahead of need.
    pub(super) fn begin(disk: &D, options: &LogOptions) -> Self {
        let segment_bytes = options.segment_bytes();
        let helper = options.makes_segments_ahead().then(|| {
            let disk = disk.clone();
            thread::Builder::new()
                .name("log-segment".to_owned())
                .spawn(move || make(&disk, segment_bytes))
        });
        Self {
            disk: disk.clone(),
            segment_bytes,
            // Without a thread the segment is made when it is taken.
            helper: helper.and_then(Result::ok),
        }
    }

    /// The file, of full size, zeroed and synced, still under the spare's name.
    pub(super) fn take(&mut self) -> Result<D::File, DiskError> {
        match self.helper.take() {
            Some(helper) => match helper.join() {
                Ok(made) => made,
                Err(panic) => std::panic::resume_unwind(panic),
            },
            None => make(&self.disk, self.segment_bytes),
        }
    }
}

impl<D: Disk> Drop for Spare<D> {
    fn drop(&mut self) {
        // Whoever opens the log next must not meet a helper that still writes.
        if let Some(helper) = self.helper.take() {
            let _ = helper.join();
        }
    }
}

fn make<D: Disk>(disk: &D, segment_bytes: u64) -> Result<D::File, DiskError> {
    // Whatever stands under this name is from an earlier life and was never
    // part of the log.
    match disk.remove(SPARE_NAME) {
        Ok(()) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(SPARE_NAME, segment_bytes)?;
    // The sync of the header would cover it; then a commit would wait for all of
    // these zeros.
    file.sync_data()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn options() -> LogOptions {
        LogOptions::default()
            .with_segment_bytes(4096)
            .expect("possible")
    }

    #[test]
    fn leftovers_under_the_name_are_replaced() {
        for options in [options(), options().without_helper()] {
            let disk = MemoryDisk::new();
            disk.set_bytes(SPARE_NAME, vec![7; 100]);
            let file = Spare::begin(&disk, &options).take().expect("makes");
            assert_eq!(file.length().expect("length"), 4096);
            assert_eq!(disk.bytes(SPARE_NAME), Some(vec![0; 4096]));
        }
    }

    #[test]
    fn a_full_disk_shows_when_the_segment_is_needed() {
        let disk = MemoryDisk::new();
        disk.fail_at(1, std::io::ErrorKind::StorageFull);
        let error = Spare::begin(&disk, &options()).take().expect_err("planned");
        assert_eq!(error.kind(), Some(std::io::ErrorKind::StorageFull));
    }

    #[test]
    fn the_helper_is_waited_for() {
        let disk = MemoryDisk::new();
        drop(Spare::begin(&disk, &options()));
        assert_eq!(disk.bytes(SPARE_NAME), Some(vec![0; 4096]));
    }
}
