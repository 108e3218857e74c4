//! A config file and the files that it names, found beside it or in the cache.

use crate::workspace;
use anyhow::{Context, Result};
use plan::{Facts, Plan};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A config that can be carried out.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as the user would write it
    pub name: String,
    /// The file's text
    pub text: String,
    /// What it means
    pub plan: Plan,
    /// Each file that it names, and where that is on this computer
    pub files: BTreeMap<String, PathBuf>,
}

/// Finds a file that is not beside the config, by the path that the config gives.
pub type Supplier<'a> = dyn Fn(&str) -> Result<Option<PathBuf>> + 'a;

/// The config that runs when none is named.
#[must_use]
pub fn default() -> PathBuf {
    workspace::root().join("examples/debian.toml")
}

/// Reads a config file. An error that is a [`plan::Refusal`] is what the user must mend in it.
///
/// # Errors
/// When the file is refused or cannot be read, or the supplier fails.
pub fn load(path: &Path, supply: &Supplier<'_>) -> Result<Config> {
    let name = workspace::display(path);
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    let text = plan::text(&bytes, &name)?;
    // First without files: only a text that is right says which there must be.
    let plan = plan::parse(text, &name, &Facts::default())?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = BTreeMap::new();
    for vm in &plan.vms {
        let modules = vm.modules.iter().map(|module| &module.path);
        let named = std::iter::once(&vm.kernel).chain(&vm.initrd);
        for named in named.chain(modules) {
            if files.contains_key(named) {
                continue;
            }
            let beside = folder.join(named);
            let found = if beside.is_file() {
                Some(beside)
            } else {
                supply(named)?
            };
            if let Some(found) = found {
                files.insert(named.clone(), found);
            }
        }
    }
    let size = |named: &str| Some(files.get(named)?.metadata().ok()?.len());
    let plan = plan::parse(
        text,
        &name,
        &Facts {
            files: Some(&size),
            ..Facts::default()
        },
    )?;
    Ok(Config {
        text: text.to_owned(),
        name,
        plan,
        files,
    })
}

impl Config {
    /// The same, with the exit statistics of each VM in the log when it ends; the rest of the text stays as it is.
    ///
    /// # Errors
    /// Never: the text is TOML, as was seen when it was loaded.
    pub fn with_statistics(mut self) -> Result<Config> {
        let mut document: toml_edit::DocumentMut = self.text.parse()?;
        let mut yes = toml_edit::Value::from(true);
        if let Some(before) = document
            .get("statistics")
            .and_then(toml_edit::Item::as_value)
        {
            // The comment behind it.
            before.decor().clone_into(yes.decor_mut());
        }
        document["statistics"] = toml_edit::Item::Value(yes);
        self.text = document.to_string();
        self.plan.statistics = true;
        Ok(self)
    }

    /// Bytes of all files that it names.
    ///
    /// # Errors
    /// When one has gone.
    pub fn size_of_files(&self) -> Result<u64> {
        let size = |path: &PathBuf| {
            let data = path.metadata();
            Ok(data.with_context(|| path.display().to_string())?.len())
        };
        self.files.values().map(size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[vm]]\nname = \"a\"\nkernel = \"a/kernel\"\nmemory = \"64 MiB\"\n";

    fn write(folder: &Path, path: &str, text: &str) -> PathBuf {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_file_beside_the_config_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let config = write(folder.path(), "bulkhead.toml", TEXT);
        let kernel = write(folder.path(), "a/kernel", "beside");
        let config = load(&config, &|_| unreachable!()).unwrap();
        assert_eq!(config.files["a/kernel"], kernel);
    }

    #[test]
    fn a_file_that_is_nowhere_is_refused_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let config = write(folder.path(), "bulkhead.toml", TEXT);
        let error = load(&config, &|_| Ok(None)).unwrap_err();
        let refusal = error.downcast::<plan::Refusal>().unwrap();
        assert!(
            refusal.to_string().contains("bulkhead.toml:3:"),
            "{refusal}"
        );
    }

    #[test]
    fn statistics_are_asked_for_without_a_change_of_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/kernel", "beside");
        for (before, after) in [
            (
                format!("# mine\n\n{TEXT} # end\n"),
                format!("statistics = true\n# mine\n\n{TEXT} # end\n"),
            ),
            (
                format!("statistics = false # why\n{TEXT}"),
                format!("statistics = true # why\n{TEXT}"),
            ),
        ] {
            let config = write(folder.path(), "bulkhead.toml", &before);
            let config = load(&config, &|_| unreachable!()).unwrap();
            let config = config.with_statistics().unwrap();
            assert!(config.plan.statistics);
            assert_eq!(config.text, after);
        }
    }

    #[test]
    fn the_default_config_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), "file", "x");
        let config = load(&default(), &|_| Ok(Some(file.clone()))).unwrap();
        assert_eq!(config.files.len(), 2);
    }
}
