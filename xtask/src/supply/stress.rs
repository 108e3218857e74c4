//! The Debian guest's initramfs with programs that put a kernel under stress: Debian's `rt-tests`, and the libraries that they need.

use super::cache::{self, Cache};
use super::package::{self, Package, Want};
use super::{debian, initrd};
use crate::report::Reporter;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const SUITE: &str = "trixie";
const PACKAGES: [&str; 4] = ["rt-tests", "libc6", "libnuma1", "libgcc-s1"];

/// Where each file is in its package, and where a program looks for it: locks and wake-ups between tasks, locks that inherit
/// priorities, signals, timers; their dynamic linker, and what it loads. glibc loads libgcc itself, to end a thread.
const FILES: [(&str, &str); 8] = [
    ("usr/bin/hackbench", "usr/bin/hackbench"),
    ("usr/bin/pi_stress", "usr/bin/pi_stress"),
    ("usr/bin/signaltest", "usr/bin/signaltest"),
    ("usr/bin/cyclictest", "usr/bin/cyclictest"),
    (
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "lib64/ld-linux-x86-64.so.2",
    ),
    ("usr/lib/x86_64-linux-gnu/libc.so.6", "lib/libc.so.6"),
    ("usr/lib/x86_64-linux-gnu/libnuma.so.1", "lib/libnuma.so.1"),
    (
        "usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
        "lib/libgcc_s.so.1",
    ),
];

/// The initramfs.
pub(super) fn initrd(report: &Reporter) -> Result<PathBuf> {
    let cache = Cache::of_user()?;
    let busybox = debian::busybox(report, &cache)?;
    let packages = PACKAGES
        .iter()
        .map(|name| package::get(report, &cache, Want::Binary, SUITE, name))
        .collect::<Result<Vec<Package>>>()?;
    let sums = packages.iter().map(|package| &package.origin.sha256);
    let inputs = sums.chain([&busybox.origin.sha256]).map(String::as_bytes);
    let recipe = format!("{FILES:?}");
    let key = cache::key(inputs.chain([initrd::RECIPE.as_bytes(), recipe.as_bytes()]));
    let entry = cache.get_or_make(report, ("stress", &key), |guard, made| {
        let (small, unpacked) = (guard.folder()?, guard.folder()?);
        let busybox = debian::read_busybox(&busybox, small.path())?;
        for package in &packages {
            package.unpack(unpacked.path())?;
        }
        let files = read(unpacked.path())?;
        initrd::write(&busybox, &files, &made.join("initrd.img"))
    })?;
    Ok(entry.join("initrd.img"))
}

fn read(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let read = |(from, to): (&str, &'static str)| {
        let bytes = fs::read(folder.join(from));
        let bytes = bytes.with_context(|| format!("no {from} in {}", PACKAGES.join(", ")))?;
        Ok((to, bytes))
    };
    FILES.into_iter().map(read).collect()
}
