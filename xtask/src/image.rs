//! The disk image: GPT, one EFI system partition with a FAT32 file system, nothing else.
//!
//! The same contents give the same bytes: identifiers come from a hash of the contents, and no file has a date.

use crate::build::Programs;
use anyhow::{Context, Result};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use fscommon::{BufStream, StreamSlice};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::{GptConfig, partition_types};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// FAT32 has at least 65,525 clusters (FAT specification, "FAT Type Determination"): with 512-byte clusters and
/// two tables a little over 32 MiB. Less is FAT16 to whoever reads it.
const SMALLEST: u64 = 40 * MIB;
/// Room for the secondary GPT: 32 sectors of entries and the header (UEFI 2.10, section 5.3.1), up to the next MiB.
const TAIL: u64 = MIB;
/// Sectors of a cylinder in the geometry that disks of this size are given. Bochs knows a disk's size only as so
/// many cylinders, and the secondary GPT must lie in the disk's last sector, so an image is made of whole ones.
pub const CYLINDER: u64 = 16 * 63;

/// What a file on the partition is made from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of this computer
    Path(PathBuf),
    /// These bytes
    Bytes(Vec<u8>),
}

impl Source {
    fn len(&self) -> Result<u64> {
        match self {
            Source::Path(path) => Ok(path
                .metadata()
                .with_context(|| path.display().to_string())?
                .len()),
            Source::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn copy_to(&self, out: &mut impl Write) -> Result<()> {
        match self {
            Source::Path(path) => {
                let mut file = File::open(path).with_context(|| path.display().to_string())?;
                std::io::copy(&mut file, out).with_context(|| path.display().to_string())?;
            }
            Source::Bytes(bytes) => out.write_all(bytes)?,
        }
        Ok(())
    }
}

/// What is on the partition: each file by its path, with `/` between the parts.
#[derive(Clone, Debug, Default)]
pub struct Contents(BTreeMap<String, Source>);

impl Contents {
    /// The two programs where the firmware and `boot` look for them, and the config.
    #[must_use]
    pub fn new(programs: &Programs, config: &str) -> Contents {
        let mut contents = Contents::default();
        contents.add("EFI/BOOT/BOOTX64.EFI", Source::Path(programs.boot.clone()));
        contents.add(
            "bulkhead/hypervisor.elf",
            Source::Path(programs.hypervisor.clone()),
        );
        contents.add(
            "bulkhead/bulkhead.toml",
            Source::Bytes(config.as_bytes().to_vec()),
        );
        contents
    }

    /// Adds a file, or replaces the one at this path.
    pub fn add(&mut self, path: &str, source: Source) {
        self.0.insert(path.to_owned(), source);
    }

    /// Takes a file out.
    pub fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }

    fn digest(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        for (path, source) in &self.0 {
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update(source.len()?.to_le_bytes());
            source.copy_to(&mut HashWriter(&mut hash))?;
        }
        Ok(hash.finalize().into())
    }

    /// Bytes of the file system: the files in whole clusters, the tables, folders, and room for a person to add
    /// to; a multiple of 1 MiB.
    fn volume_size(&self) -> Result<u64> {
        let mut bytes = 0_u64;
        for source in self.0.values() {
            bytes += source.len()?.next_multiple_of(4096) + 4096;
        }
        Ok((bytes + bytes / 8 + 4 * MIB)
            .next_multiple_of(MIB)
            .max(SMALLEST))
    }

    /// Writes the image.
    ///
    /// # Errors
    /// What the host's file system says, with the file's name.
    pub fn write(&self, out: &Path) -> Result<()> {
        let volume = self.volume_size()?;
        let digest = self.digest()?;
        let mut disk = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(out)
            .with_context(|| out.display().to_string())?;
        let size = (MIB + volume + TAIL).next_multiple_of(CYLINDER * SECTOR);
        disk.set_len(size)
            .with_context(|| out.display().to_string())?;
        write_gpt(&mut disk, size, volume, &digest).context("partition table")?;
        self.write_volume(&disk, volume, &digest)
            .with_context(|| format!("file system in {}", out.display()))
    }

    fn write_volume(&self, disk: &File, volume: u64, digest: &[u8; 32]) -> Result<()> {
        let mut slice = BufStream::new(StreamSlice::new(disk, MIB, MIB + volume)?);
        let id = u32::from_le_bytes([digest[16], digest[17], digest[18], digest[19]]);
        let options = FormatVolumeOptions::new()
            .fat_type(FatType::Fat32)
            .volume_id(id)
            .volume_label(*b"BULKHEAD   ");
        fatfs::format_volume(&mut slice, options)?;
        slice.seek(SeekFrom::Start(0))?;
        let filesystem = FileSystem::new(slice, FsOptions::new())?;
        for (path, source) in &self.0 {
            let mut folder = filesystem.root_dir();
            let mut parts: Vec<&str> = path.split('/').collect();
            let name = parts.pop().unwrap_or_default();
            for part in parts {
                folder = folder.create_dir(part).with_context(|| path.clone())?;
            }
            let mut file = folder.create_file(name).with_context(|| path.clone())?;
            source.copy_to(&mut file)?;
            file.flush()?;
        }
        filesystem.unmount()?;
        Ok(())
    }
}

fn write_gpt(disk: &mut File, size: u64, volume: u64, digest: &[u8; 32]) -> Result<()> {
    let guid = |salt: u8| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[15] ^= salt;
        // Version 8 of RFC 9562: bits of the maker's choice.
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    };
    let last_sector = u32::try_from(size / SECTOR - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(last_sector).overwrite_lba0(disk)?;
    let mut gpt = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(disk, Some(guid(0)))?;
    let esp = Partition {
        part_type_guid: partition_types::EFI,
        part_guid: guid(1),
        first_lba: MIB / SECTOR,
        last_lba: (MIB + volume) / SECTOR - 1,
        flags: 0,
        name: "Bulkhead".to_owned(),
    };
    gpt.update_partitions(BTreeMap::from([(1, esp)]))?;
    gpt.write()?;
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn sample(note: &str) -> Contents {
        let mut contents = Contents::default();
        contents.add("EFI/BOOT/BOOTX64.EFI", Source::Bytes(vec![1; 100_000]));
        contents.add(
            "bulkhead/a folder/A long name, in Mixed Case.txt",
            Source::Bytes(note.into()),
        );
        contents
    }

    fn written(contents: &Contents) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.img");
        contents.write(&image).unwrap();
        (folder, image)
    }

    /// Finds the partition as firmware does, and reads a file from it.
    fn read(image: &Path, path: &str) -> Vec<u8> {
        let gpt = GptConfig::new()
            .only_valid_headers(true)
            .open(image)
            .unwrap();
        let (_, esp) = gpt.partitions().iter().next().unwrap();
        assert_eq!(esp.part_type_guid, partition_types::EFI);
        assert_eq!(esp.first_lba * SECTOR % MIB, 0);
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .open(image)
            .unwrap();
        let (start, end) = (esp.first_lba * SECTOR, (esp.last_lba + 1) * SECTOR);
        let volume = FileSystem::new(
            StreamSlice::new(disk, start, end).unwrap(),
            FsOptions::new(),
        );
        let volume = volume.unwrap();
        assert_eq!(volume.fat_type(), FatType::Fat32);
        let mut bytes = Vec::new();
        volume
            .root_dir()
            .open_file(path)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn files_are_found_under_their_names() {
        let (_folder, image) = written(&sample("hello"));
        assert_eq!(
            read(&image, "bulkhead/a folder/A long name, in Mixed Case.txt"),
            b"hello"
        );
        assert_eq!(read(&image, "efi/boot/bootx64.efi"), [1; 100_000]);
    }

    #[test]
    fn the_same_contents_give_the_same_bytes() {
        let (_a, first) = written(&sample("hello"));
        let (_b, again) = written(&sample("hello"));
        let (_c, other) = written(&sample("hallo"));
        let bytes = |path| std::fs::read(path).unwrap();
        assert!(bytes(&first) == bytes(&again));
        assert!(
            bytes(&first)[..1 << 20] != bytes(&other)[..1 << 20],
            "the GUIDs are the same"
        );
    }

    #[test]
    fn a_disk_is_made_of_whole_cylinders_and_grows_with_its_files() {
        let mut contents = sample("hello");
        contents.add("bulkhead/large", Source::Bytes(vec![7; 60 << 20]));
        let (_folder, image) = written(&contents);
        let size = image.metadata().unwrap().len();
        assert_eq!(size % (SECTOR * CYLINDER), 0);
        assert!(read(&image, "bulkhead/large") == vec![7; 60 << 20]);
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let mut contents = sample("hello");
        contents.add("bulkhead/kernel", Source::Path("/no/such/kernel".into()));
        let folder = tempfile::tempdir().unwrap();
        let error = contents.write(&folder.path().join("disk.img")).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/kernel"));
    }
}
