//! Guests under the names by which a config can have them without copying anything: Debian's, and the tiny ones.

use crate::build;
use crate::report::Reporter;
use crate::supply::{self, Suite};
use anyhow::Result;
use std::path::PathBuf;

/// Folders that stand for a guest of Debian's where nothing of that name is beside the config.
const FOLDERS: &[(&str, Suite)] = &[
    ("debian", Suite::Bookworm),
    ("debian-12", Suite::Bookworm),
    ("debian-13", Suite::Trixie),
    ("debian-newest", Suite::Newest),
];

/// The folder that stands for the tiny guests.
const TINY: &str = "guests";

/// The file that `path` stands for: `FOLDER/vmlinuz`, `FOLDER/vmlinux`, `FOLDER/initrd.img` or `FOLDER/stress.img` of Debian's, or a
/// tiny guest's `guests/NAME.elf`.
///
/// # Errors
/// When it cannot be fetched or built.
pub fn file(path: &str, report: &Reporter) -> Result<Option<PathBuf>> {
    let Some((folder, name)) = path.split_once('/') else {
        return Ok(None);
    };
    if folder == TINY {
        return tiny(name);
    }
    let suite = FOLDERS
        .iter()
        .find(|(known, _)| *known == folder)
        .map(|(_, suite)| *suite);
    Ok(match (suite, name) {
        (Some(suite), "vmlinux") => Some(supply::vmlinux(report, suite)?),
        (Some(suite), "vmlinuz") => Some(supply::guest(report, suite)?.kernel),
        (Some(_), "stress.img") => Some(supply::stress(report)?),
        (Some(suite), "initrd.img") => Some(supply::guest(report, suite)?.initrd),
        _ => None,
    })
}

/// The ELF file of a tiny guest; names may have dashes where those of programs have underscores.
fn tiny(file: &str) -> Result<Option<PathBuf>> {
    match file.strip_suffix(".elf") {
        Some(name) => Ok(build::guests()?.remove(&name.replace('-', "_"))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_not_ours_to_bring() {
        for path in [
            "vmlinuz",
            "debian/other",
            "ubuntu/vmlinuz",
            "debian/sub/vmlinuz",
            "guests/ports",
            "guests/sub/ports.bin",
        ] {
            assert!(file(path, &Reporter::new()).unwrap().is_none(), "{path}");
        }
    }
}
