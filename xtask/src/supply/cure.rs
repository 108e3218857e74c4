//! The cures of the emulator's faults: one small edit a file, in `xtask/cures`.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// The cures, by name, as kept in the repository: part of the program, so that another clone's cache is keyed by them.
pub(super) const CURES: [(&str, &str); 15] = [
    (
        "1-masked-virtual-interrupt",
        include_str!("../../cures/1-masked-virtual-interrupt.toml"),
    ),
    (
        "2-halt-sleeps-through-virtual-interrupt",
        include_str!("../../cures/2-halt-sleeps-through-virtual-interrupt.toml"),
    ),
    (
        "3-interrupt-mask-at-entry",
        include_str!("../../cures/3-interrupt-mask-at-entry.toml"),
    ),
    (
        "4-posted-interrupt-descriptor",
        include_str!("../../cures/4-posted-interrupt-descriptor.toml"),
    ),
    (
        "5-vectoring-of-virtual-interrupt",
        include_str!("../../cures/5-vectoring-of-virtual-interrupt.toml"),
    ),
    (
        "6-topology-shift",
        include_str!("../../cures/6-topology-shift.toml"),
    ),
    (
        "7-exception-then-exit",
        include_str!("../../cures/7-exception-then-exit.toml"),
    ),
    (
        "8-repeat-among-several",
        include_str!("../../cures/8-repeat-among-several.toml"),
    ),
    (
        "9-repeat-in-batches",
        include_str!("../../cures/9-repeat-in-batches.toml"),
    ),
    (
        "10-posted-interrupt-of-none",
        include_str!("../../cures/10-posted-interrupt-of-none.toml"),
    ),
    (
        "11-halted-at-nmi-exit",
        include_str!("../../cures/11-halted-at-nmi-exit.toml"),
    ),
    (
        "12-end-of-spurious-vector",
        include_str!("../../cures/12-end-of-spurious-vector.toml"),
    ),
    (
        "13-priority-class",
        include_str!("../../cures/13-priority-class.toml"),
    ),
    (
        "14-deadline-after-expiry",
        include_str!("../../cures/14-deadline-after-expiry.toml"),
    ),
    (
        "15-self-ipi-reserved",
        include_str!("../../cures/15-self-ipi-reserved.toml"),
    ),
];

/// One edit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cure {
    /// The file, in the emulator's sources.
    file: String,
    /// The section of the SDM that it restores.
    sdm: String,
    /// What that section says, and what the emulator does.
    restores: String,
    /// The text to find, exactly once.
    find: String,
    /// The text to put in its place.
    put: String,
}

/// Applies all cures to the sources in `folder`.
pub(super) fn apply_all(folder: &Path) -> Result<()> {
    for (name, text) in CURES {
        let cure = parse(text).with_context(|| format!("xtask/cures/{name}.toml"))?;
        let path = folder.join(&cure.file);
        // The sources hold names in older encodings: bytes, not text.
        let source =
            fs::read(&path).with_context(|| format!("cure {name}: cannot read {}", cure.file))?;
        let cured = apply(&cure, &source)
            .with_context(|| format!("cure {name} does not fit {}", cure.file))?;
        fs::write(&path, cured)?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Cure> {
    let cure: Cure = toml::from_str(text)?;
    if cure.find.is_empty() || cure.sdm.is_empty() || cure.restores.is_empty() {
        bail!("a cure says what it finds and which section it restores");
    }
    Ok(cure)
}

fn apply(cure: &Cure, source: &[u8]) -> Result<Vec<u8>> {
    let find = cure.find.as_bytes();
    let mut places = source
        .windows(find.len())
        .enumerate()
        .filter(|(_, window)| *window == find)
        .map(|(at, _)| at);
    let Some(at) = places.next() else {
        bail!(
            "the text to replace is not there: `{}`\n  mend: these sources are not the ones that the cures were made for",
            cure.find
        );
    };
    if places.next().is_some() {
        bail!(
            "the text to replace is there more than once: `{}`",
            cure.find
        );
    }
    Ok([
        &source[..at],
        cure.put.as_bytes(),
        &source[at + find.len()..],
    ]
    .concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cure(find: &str, put: &str) -> Cure {
        let [file, sdm, restores] = ["f", "s", "r"].map(str::to_owned);
        Cure {
            file,
            sdm,
            restores,
            find: find.to_owned(),
            put: put.to_owned(),
        }
    }

    #[test]
    fn replaces_the_one_place_and_keeps_every_other_byte() -> Result<()> {
        assert_eq!(
            apply(&cure("old", "new"), b"a \xff old b")?,
            b"a \xff new b"
        );
        assert_eq!(apply(&cure("old", ""), b"old")?, b"");
        Ok(())
    }

    #[test]
    fn refuses_none_and_two() {
        let none = apply(&cure("old", "new"), b"ol")
            .expect_err("none")
            .to_string();
        assert!(none.contains("not there: `old`"), "{none}");
        let two = apply(&cure("aa", "b"), b"aaa")
            .expect_err("two, which overlap")
            .to_string();
        assert!(two.contains("more than once"), "{two}");
    }

    #[test]
    fn every_cure_changes_what_it_names() -> Result<()> {
        for (name, text) in CURES {
            let cure = parse(text).with_context(|| name)?;
            assert_ne!(cure.find, cure.put, "{name}");
            assert!(cure.sdm.starts_with("vol. "), "{name} names no section");
        }
        Ok(())
    }

    #[test]
    fn every_file_of_the_folder_is_a_cure() -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cures");
        let mut files = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        files.sort();
        let mut cures = CURES.map(|(name, _)| format!("{name}.toml"));
        cures.sort();
        assert_eq!(files, cures);
        Ok(())
    }
}
