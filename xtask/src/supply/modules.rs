//! The Debian guest's initramfs with modules of its kernel, for `insmod`: `lib/modules/NAME.ko`, without what they need themselves.

use super::cache::{self, Cache};
use super::package::{self, Want};
use super::{Suite, debian, initrd};
use crate::report::Reporter;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The initramfs with these modules, each named by its path below the kernel's folder of modules, without `.ko`.
pub(super) fn initrd(report: &Reporter, suite: Suite, modules: &[&str]) -> Result<PathBuf> {
    let cache = Cache::of_user()?;
    let busybox = debian::busybox(report, &cache)?;
    let kernel = package::get(report, &cache, Want::Kernel, suite.name(), debian::KERNEL)?;
    let list = modules.join(" ");
    let sums = [&busybox.origin.sha256, &kernel.origin.sha256].map(String::as_bytes);
    let recipe = [initrd::RECIPE.as_bytes(), list.as_bytes()];
    let key = cache::key(sums.into_iter().chain(recipe));
    let entry = cache.get_or_make(report, ("modules", &key), |guard, made| {
        let (small, unpacked) = (guard.folder()?, guard.folder()?);
        let busybox = debian::read_busybox(&busybox, small.path())?;
        kernel.unpack(unpacked.path())?;
        let files = modules
            .iter()
            .map(|module| read(unpacked.path(), module))
            .collect::<Result<Vec<_>>>()?;
        let files: Vec<_> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.clone()))
            .collect();
        initrd::write(&busybox, &files, &made.join("initrd.img"))
    })?;
    Ok(entry.join("initrd.img"))
}

/// A module, and where it goes. Debian 13 has moved `lib` under `usr`, and packs modules.
fn read(folder: &Path, module: &str) -> Result<(String, Vec<u8>)> {
    let path = ["lib/modules", "usr/lib/modules"]
        .into_iter()
        .flat_map(|place| debian::list(&folder.join(place)))
        .map(|version| version.join("kernel").join(format!("{module}.ko")))
        .find(|path| path.is_file())
        .with_context(|| format!("the kernel has no module {module} that is not packed"))?;
    let name = path.file_name().map(|name| name.to_string_lossy());
    let to = format!("lib/modules/{}", name.unwrap_or_default());
    Ok((to, fs::read(&path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_module_in_the_folder_of_its_kernel() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let drivers = folder.path().join("lib/modules/6.1.0/kernel/drivers");
        fs::create_dir_all(&drivers)?;
        fs::write(drivers.join("a_wdt.ko"), b"a module")?;
        fs::write(drivers.join("packed.ko.xz"), b"another")?;
        let found = read(folder.path(), "drivers/a_wdt")?;
        assert_eq!(
            found,
            ("lib/modules/a_wdt.ko".to_owned(), b"a module".to_vec())
        );
        assert!(read(folder.path(), "drivers/packed").is_err());
        Ok(())
    }
}
