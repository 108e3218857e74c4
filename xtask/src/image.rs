//! The disk image: GPT, one EFI system partition with a FAT file system, nothing else.
//!
//! The same contents give the same bytes: identifiers come from a hash of the contents, and no file has a date.

mod dots;
#[cfg(test)]
mod tests;

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
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Firmware follows a file from cluster to cluster: in OVMF large ones bring the hypervisor's entry from 888 to 863
/// million ticks. 16 KiB would save little more, and make the smallest volume 64 MiB.
const CLUSTER: u32 = 8192;
/// FAT16 has from 4,085 to 65,524 clusters (FAT specification, "FAT Type Determination"), and is what firmware reads
/// from removable media beside FAT32 (UEFI 2.10, section 13.3.1.1). With the tables taken off, 512 MiB have 65,502
/// clusters as FAT16, and one MiB more has 65,600 as FAT32.
const SMALLEST: u64 = 40 * MIB;
const LARGEST_FAT16: u64 = 512 * MIB;
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
            bytes += source.len()?.next_multiple_of(CLUSTER.into()) + u64::from(CLUSTER);
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
        let slice = || -> Result<_> {
            let slice = StreamSlice::new(disk, MIB, MIB + volume)?;
            Ok(BufStream::new(slice))
        };
        let id = u32::from_le_bytes([digest[16], digest[17], digest[18], digest[19]]);
        let options = FormatVolumeOptions::new()
            .fat_type(fat_type(volume))
            .bytes_per_cluster(CLUSTER)
            .volume_id(id)
            .volume_label(*b"BULKHEAD   ");
        fatfs::format_volume(slice()?, options)?;
        let filesystem = FileSystem::new(slice()?, FsOptions::new())?;
        for path in self.0.keys() {
            for (end, _) in path.match_indices('/') {
                let folder = filesystem.root_dir().create_dir(&path[..end]);
                folder.with_context(|| path.clone())?;
            }
        }
        filesystem.unmount()?;
        dots::mend(&mut slice()?)?;
        let filesystem = FileSystem::new(slice()?, FsOptions::new())?;
        for (path, source) in &self.0 {
            let file = filesystem.root_dir().create_file(path);
            let mut file = file.with_context(|| path.clone())?;
            source.copy_to(&mut file)?;
            file.flush()?;
        }
        filesystem.unmount()?;
        Ok(())
    }
}

fn fat_type(volume: u64) -> FatType {
    if volume <= LARGEST_FAT16 {
        FatType::Fat16
    } else {
        FatType::Fat32
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
