//! The FAT volume that boot was loaded from: its folder `\bulkhead`.

use crate::failure::Failure;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use uefi::boot::{self, ScopedProtocol};
use uefi::proto::media::file::{Directory, File, FileAttribute, FileInfo, FileMode, RegularFile};
use uefi::proto::media::fs::SimpleFileSystem;
use uefi::{CString16, Status};

/// The folder, as the firmware writes it, and what a path of ours is relative to.
pub const FOLDER: &str = "\\bulkhead\\";

/// The volume.
pub struct Volume {
    // Dropped in this order.
    root: Directory,
    _system: ScopedProtocol<SimpleFileSystem>,
}

impl Volume {
    /// The volume that this program was loaded from.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn own() -> Result<Self, Failure> {
        let failed = |e: uefi::Error| Failure::File {
            path: "the volume that boot was loaded from".into(),
            status: e.status(),
        };
        let mut system = boot::get_image_file_system(boot::image_handle()).map_err(failed)?;
        Ok(Self {
            root: system.open_volume().map_err(failed)?,
            _system: system,
        })
    }

    /// The size of a file in bytes; `None` if there is no such file or if it is a folder.
    ///
    /// # Errors
    /// [`Failure::File`] if the firmware cannot tell.
    pub fn size(&mut self, path: &str) -> Result<Option<u64>, Failure> {
        match self.open(path) {
            Ok((_, size)) => Ok(Some(size)),
            Err(Status::NOT_FOUND) => Ok(None),
            Err(status) => Err(failed(path, status)),
        }
    }

    /// Fills `into` with the first bytes of a file.
    ///
    /// # Errors
    /// [`Failure::File`]; also if the file has less than that.
    pub fn read_into(&mut self, path: &str, into: &mut [u8]) -> Result<(), Failure> {
        let (mut file, _) = self.open(path).map_err(|s| failed(path, s))?;
        match file.read(into) {
            Ok(n) if n == into.len() => Ok(()),
            Ok(_) => Err(failed(path, Status::END_OF_FILE)),
            Err(e) => Err(failed(path, e.status())),
        }
    }

    /// A whole file of at most `max` bytes.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn read(&mut self, path: &str, max: u64) -> Result<Vec<u8>, Failure> {
        let (_, size) = self.open(path).map_err(|s| failed(path, s))?;
        if size > max {
            return Err(failed(path, Status::BAD_BUFFER_SIZE));
        }
        let mut bytes = vec![0; size as usize];
        self.read_into(path, &mut bytes)?;
        Ok(bytes)
    }

    fn open(&mut self, path: &str) -> Result<(RegularFile, u64), Status> {
        let name = CString16::try_from(full(path).as_str()).map_err(|_| Status::NOT_FOUND)?;
        let mut file = self
            .root
            .open(&name, FileMode::Read, FileAttribute::empty())
            .map_err(|e| e.status())?
            .into_regular_file()
            .ok_or(Status::NOT_FOUND)?;
        let info = file.get_boxed_info::<FileInfo>().map_err(|e| e.status())?;
        Ok((file, info.file_size()))
    }
}

/// A path beside the config file, `/` between its parts, as the firmware writes it.
fn full(path: &str) -> String {
    let mut full = String::from(FOLDER);
    full.push_str(&path.replace('/', "\\"));
    full
}

fn failed(path: &str, status: Status) -> Failure {
    Failure::File {
        path: full(path),
        status,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_are_beside_the_config() {
        assert_eq!(super::full("debian/vmlinuz"), "\\bulkhead\\debian\\vmlinuz");
    }
}
