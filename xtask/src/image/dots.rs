//! The first two entries of each folder, put where the FAT specification has them.
//!
//! fatfs 0.3.6 gives `.` and `..` long names as well, so that they come second and fourth (its issue 117). Firmware
//! does not mind, but fsck.fat and Windows find fault with the volume and "repair" it.

use super::SECTOR;
use anyhow::Result;
use std::io::{Read, Seek, SeekFrom, Write};

/// Bytes of a directory entry (FAT specification, "FAT Directory Structure").
const ENTRY: usize = 32;
/// Offset of the attributes in an entry, and what they are for a long name.
const ATTRIBUTES: usize = 11;
const LONG_NAME: u8 = 0x0f;
/// First byte of an entry that is free.
const FREE: u8 = 0xe5;

/// Mends all folders of a volume that holds nothing but folders, so that no file can look like one.
pub(super) fn mend(volume: &mut (impl Read + Write + Seek)) -> Result<()> {
    let mut boot = [0; 64];
    volume.seek(SeekFrom::Start(0))?;
    volume.read_exact(&mut boot)?;
    let end = volume.seek(SeekFrom::End(0))?;
    let mut sector = [0; SECTOR as usize];
    let mut at = data_start(&boot);
    while at < end {
        volume.seek(SeekFrom::Start(at))?;
        volume.read_exact(&mut sector)?;
        if rearrange(&mut sector) {
            volume.seek(SeekFrom::Start(at))?;
            volume.write_all(&sector)?;
        }
        at += SECTOR;
    }
    volume.flush()?;
    Ok(())
}

/// Where the first cluster lies (FAT specification, "Boot Sector and BPB").
fn data_start(boot: &[u8; 64]) -> u64 {
    let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let (reserved, tables, root_entries) = (word(14), u64::from(boot[16]), word(17));
    let of_table = match word(22) {
        // FAT32
        0 => word(36) | word(38) << 16,
        sectors => sectors,
    };
    let root = (root_entries * ENTRY as u64).div_ceil(SECTOR);
    (reserved + tables * of_table + root) * SECTOR
}

/// Puts `.` and `..` before their long names, which become free entries.
fn rearrange(sector: &mut [u8]) -> bool {
    let is_long = |at: usize| sector[at * ENTRY + ATTRIBUTES] == LONG_NAME;
    let is_named = |at: usize, name: &[u8; 11]| sector[at * ENTRY..].starts_with(name);
    if !(is_long(0) && is_named(1, b".          ") && is_long(2) && is_named(3, b"..         ")) {
        return false;
    }
    sector.copy_within(ENTRY..2 * ENTRY, 0);
    sector.copy_within(3 * ENTRY..4 * ENTRY, ENTRY);
    for at in [2, 3] {
        sector[at * ENTRY..(at + 1) * ENTRY].fill(0);
        sector[at * ENTRY] = FREE;
    }
    true
}
