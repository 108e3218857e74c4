//! The Rust sources of the checkout.

use anyhow::{Context, Result};
use std::path::Path;

/// The folders that hold them.
const FOLDERS: &[&str] = &[
    "boot",
    "fuzz",
    "guest-loader",
    "hypervisor",
    "qemu-tests",
    "xtask",
];

/// A source file.
pub(super) struct Source {
    /// Its path from the root of the workspace
    pub(super) path: String,
    pub(super) text: String,
}

pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        walk(root, &root.join(folder), &mut sources)?;
    }
    Ok(sources)
}

fn walk(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in folder
        .read_dir()
        .with_context(|| folder.display().to_string())?
    {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            walk(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let path = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .display()
                .to_string();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}
