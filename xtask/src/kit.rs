//! The Debian guests under the names by which a config can have them without copying anything.

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

/// The file that `path` stands for: `FOLDER/vmlinuz` or `FOLDER/initrd.img`.
///
/// # Errors
/// When it cannot be fetched.
pub fn file(path: &str, report: &Reporter) -> Result<Option<PathBuf>> {
    let Some((folder, name)) = path.split_once('/') else {
        return Ok(None);
    };
    let suite = FOLDERS
        .iter()
        .find(|(known, _)| *known == folder)
        .map(|(_, suite)| *suite);
    Ok(match (suite, name) {
        (Some(suite), "vmlinuz") => Some(supply::guest(report, suite)?.kernel),
        (Some(suite), "initrd.img") => Some(supply::guest(report, suite)?.initrd),
        _ => None,
    })
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
        ] {
            assert!(file(path, &Reporter::new()).unwrap().is_none(), "{path}");
        }
    }
}
