//! A disk of a node's own that can lose its power: ext4 on a loop device, shut down by
//! its own ioctl without flushing anything.

use std::path::{Path, PathBuf};

use crate::tool::run;

const SIZE: &str = "256M";
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` (Linux, fs/ext4/ext4.h). There
/// is no safe call for it in Rust.
const SHUT_DOWN: &str = "import fcntl,os,struct,sys; \
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// A mounted file system. Dropping it unmounts it.
pub(crate) struct Medium {
    image: PathBuf,
    place: PathBuf,
    mounted: bool,
}

impl Medium {
    /// Makes one, mounted at `place`.
    pub(crate) fn make(image: PathBuf, place: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
        let shown = image.to_string_lossy().into_owned();
        run("truncate", &["-s", SIZE, &shown])?;
        run("mkfs.ext4", &["-q", "-F", &shown])?;
        let mut medium = Self {
            image,
            place,
            mounted: false,
        };
        medium.mount()?;
        Ok(medium)
    }

    /// Where it is mounted.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Nothing reaches the medium any more from now on.
    pub(crate) fn cut_power(&self) -> Result<(), String> {
        run("python3", &["-c", SHUT_DOWN, &self.place.to_string_lossy()])
    }

    /// As after a start of the machine: what is on the medium is all there is.
    pub(crate) fn restore_power(&mut self) -> Result<(), String> {
        self.unmount()?;
        self.mount()
    }

    fn mount(&mut self) -> Result<(), String> {
        let (image, place) = (self.image.to_string_lossy(), self.place.to_string_lossy());
        run("mount", &["-o", "loop", &image, &place])?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.mounted) {
            run("umount", &[&self.place.to_string_lossy()])?;
        }
        Ok(())
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}
