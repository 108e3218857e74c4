//! The Debian guest: a stock kernel and an initramfs.

use super::cache::{self, Cache};
use super::package::{self, Package, Want};
use super::{GuestKit, Suite, initrd};
use crate::report::Reporter;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const KERNEL: &str = "linux-image-cloud-amd64";
/// One busybox for all kernels: it is static.
pub(super) const BUSYBOX: (&str, &str) = ("trixie", "busybox-static");

/// A stock kernel.
pub(super) struct Kernel {
    /// The bzImage
    pub(super) path: PathBuf,
    /// Names what is made of it in the cache
    pub(super) key: String,
    version: String,
}

pub(super) fn kernel(report: &Reporter, cache: &Cache, suite: Suite) -> Result<Kernel> {
    let package = package::get(report, cache, Want::Kernel, suite.name(), KERNEL)?;
    let key = cache::key([package.origin.sha256.as_bytes()]);
    let entry = cache.get_or_make(report, ("kernel", &key), |guard, made| {
        let unpacked = guard.folder()?;
        package.unpack(unpacked.path())?;
        let image = find_kernel(unpacked.path()).with_context(|| {
            format!(
                "no kernel in {} {}",
                package.origin.package, package.origin.version
            )
        })?;
        fs::copy(image, made.join("vmlinuz"))?;
        Ok(())
    })?;
    Ok(Kernel {
        path: entry.join("vmlinuz"),
        key,
        version: package.origin.version,
    })
}

pub(super) fn guest(report: &Reporter, suite: Suite) -> Result<GuestKit> {
    let cache = Cache::of_user()?;
    let kernel = kernel(report, &cache, suite)?;
    let busybox = busybox(report, &cache)?;
    let key = cache::key([busybox.origin.sha256.as_bytes(), initrd::RECIPE.as_bytes()]);
    let initrd = cache.get_or_make(report, ("initrd", &key), |guard, made| {
        let unpacked = guard.folder()?;
        initrd::write(
            &read_busybox(&busybox, unpacked.path())?,
            &[],
            &made.join("initrd.img"),
        )
    })?;
    Ok(GuestKit {
        kernel: kernel.path,
        initrd: initrd.join("initrd.img"),
        version: kernel.version,
    })
}

pub(super) fn busybox(report: &Reporter, cache: &Cache) -> Result<Package> {
    package::get(report, cache, Want::Binary, BUSYBOX.0, BUSYBOX.1)
}

/// Up to 7.1 the kernel is `boot/vmlinuz-VERSION`, from 7.2 on `usr/lib/modules/VERSION/vmlinuz`.
fn find_kernel(folder: &Path) -> Option<PathBuf> {
    let boot = list(&folder.join("boot"));
    let old = boot.into_iter().find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    });
    old.or_else(|| {
        let versions = list(&folder.join("usr/lib/modules"));
        versions
            .into_iter()
            .map(|version| version.join("vmlinuz"))
            .find(|path| path.is_file())
    })
}

pub(super) fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

/// Debian 13 has moved `bin` under `usr`.
pub(super) fn read_busybox(package: &Package, folder: &Path) -> Result<Vec<u8>> {
    package.unpack(folder)?;
    let places = ["usr/bin/busybox", "bin/busybox"].map(|place| folder.join(place));
    let place = places.iter().find(|place| place.is_file());
    let place = place.with_context(|| {
        format!(
            "no busybox in {} {}",
            package.origin.package, package.origin.version
        )
    })?;
    Ok(fs::read(place)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_kernel_in_either_place() -> Result<()> {
        let folder = tempfile::tempdir()?;
        assert_eq!(find_kernel(folder.path()), None);
        let new = folder.path().join("usr/lib/modules/7.2.1/vmlinuz");
        fs::create_dir_all(folder.path().join("usr/lib/modules/7.2.1"))?;
        fs::write(&new, "")?;
        assert_eq!(find_kernel(folder.path()), Some(new));
        let old = folder.path().join("boot/vmlinuz-6.1.0");
        fs::create_dir(folder.path().join("boot"))?;
        fs::write(folder.path().join("boot/config-6.1.0"), "")?;
        fs::write(&old, "")?;
        assert_eq!(find_kernel(folder.path()), Some(old));
        Ok(())
    }
}
