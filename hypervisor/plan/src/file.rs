//! The files that a plan names.

use crate::Facts;
use crate::excerpt::{self, quoted};
use crate::refusal::{Finding, Findings, Refused};
use crate::table;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// Longest path, in characters: a long name of FAT holds 255, and the config's folder comes before it.
const MAX_PATH: usize = 200;

/// How files are asked for.
pub(crate) struct Look<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) config: &'a str,
}

/// A file that the plan names.
pub(crate) struct File {
    pub(crate) path: String,
    /// Its size in bytes, if files could be asked for and it is there
    pub(crate) size: Option<u64>,
    pub(crate) at: Range<usize>,
}

/// Reads the value of `key` as the path of a file that must be there and not empty.
pub(crate) fn read(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    example: &str,
    look: &Look<'_>,
    findings: &mut Findings,
) -> Result<File, Refused> {
    let path = table::string(value, key, example, findings)?;
    if let Some((label, mend)) = wrong(path) {
        return Err(findings.add(
            Finding::new(format!("invalid path \"{}\"", quoted(path)), value.span())
                .label(label)
                .mend(mend.unwrap_or_else(|| {
                    format!("use a path relative to this file, such as `{example}`")
                })),
        ));
    }
    let file = |size| File {
        path: path.to_owned(),
        size,
        at: value.span(),
    };
    let Some(size_of) = look.facts.files else {
        return Ok(file(None));
    };
    let (label, mend) = match size_of(path) {
        Some(0) => ("is empty", "copy the file again"),
        Some(size) => return Ok(file(Some(size))),
        None => ("was not found", "copy the file there, or correct the path"),
    };
    let looked = beside(look.config, path);
    findings.add(
        Finding::new(format!("the {key}'s file {label}"), value.span())
            .label(format!("this file {label}"))
            .note(format!("looked for {}", excerpt::path(&looked)))
            .mend(mend),
    );
    // The path as such is right, so what else is wrong can still be found.
    Ok(file(None))
}

/// What is wrong with a path, and the right one where it suggests itself.
fn wrong(path: &str) -> Option<(String, Option<String>)> {
    let mend = |path: String| wrong(&path).is_none().then(|| format!("write \"{path}\""));
    let bare = path.trim_start_matches(['/', '\\']);
    if path.is_empty() {
        return Some(("this is empty".to_owned(), None));
    }
    if path.len() > MAX_PATH {
        return Some((
            format!("this has {} bytes; {MAX_PATH} is the most", path.len()),
            None,
        ));
    }
    if path.contains('\\') {
        return Some((
            "separate the parts with `/`".to_owned(),
            mend(bare.replace('\\', "/")),
        ));
    }
    if bare.len() != path.len() {
        return Some((
            "this is absolute; paths are relative to this file".to_owned(),
            mend(bare.to_owned()),
        ));
    }
    if let Some(bad) = path
        .chars()
        .find(|c| !matches!(c, ' '..='~') || matches!(c, '"' | '*' | ':' | '<' | '>' | '?' | '|'))
    {
        return Some((
            format!("`{}` cannot be in a file name on FAT", bad.escape_default()),
            None,
        ));
    }
    path.split('/').find_map(|part| match part {
        "" => Some(("this has an empty part".to_owned(), None)),
        "." | ".." => Some((format!("`{part}` is not allowed in a path"), None)),
        // FAT drops them, and another name would be found.
        _ if part.ends_with(['.', ' ']) || part.starts_with(' ') => Some((
            "a part may not start with a space or end with a space or dot".to_owned(),
            None,
        )),
        _ => None,
    })
}

/// The path of a file that lies beside the config, in the config's own manner of writing paths.
fn beside(config: &str, path: &str) -> String {
    match config.rfind(['/', '\\']) {
        Some(at) => {
            let folder = config.get(..=at).unwrap_or("");
            if folder.ends_with('\\') {
                format!("{folder}{}", path.replace('/', "\\"))
            } else {
                format!("{folder}{path}")
            }
        }
        None => path.to_owned(),
    }
}
