//! The firmware: Debian's OVMF, and the VGA BIOS that Bochs wants beside it.

use super::Firmware;
use super::cache::{self, Cache};
use super::package::{self, Want};
use crate::report::Reporter;
use anyhow::{Context, Result, ensure};
use std::fs;

/// Their suites and names.
pub(super) const PACKAGES: [(&str, &str); 2] = [("trixie", "ovmf"), ("trixie", "vgabios")];
/// From where in the packages to what in the cache.
const FILES: [(&str, &str); 4] = [
    ("usr/share/ovmf/OVMF.fd", "OVMF.fd"),
    ("usr/share/OVMF/OVMF_CODE_4M.fd", "OVMF_CODE.fd"),
    ("usr/share/OVMF/OVMF_VARS_4M.fd", "OVMF_VARS.fd"),
    ("usr/share/vgabios/vgabios.bin", "VGABIOS"),
];

pub(super) fn firmware(report: &Reporter) -> Result<Firmware> {
    let cache = Cache::of_user()?;
    let get = |(suite, name)| package::get(report, &cache, Want::Binary, suite, name);
    let (ovmf, vga) = (get(PACKAGES[0])?, get(PACKAGES[1])?);
    let files = FILES.map(|(_, name)| name).join(" ");
    let key = cache::key([
        ovmf.origin.sha256.as_bytes(),
        vga.origin.sha256.as_bytes(),
        files.as_bytes(),
    ]);
    let folder = cache.get_or_make(report, ("firmware", &key), |guard, made| {
        let unpacked = guard.folder()?;
        ovmf.unpack(unpacked.path())?;
        vga.unpack(unpacked.path())?;
        for (from, to) in FILES {
            fs::copy(unpacked.path().join(from), made.join(to)).with_context(|| {
                format!(
                    "no {from} in ovmf {} or vgabios {}",
                    ovmf.origin.version, vga.origin.version
                )
            })?;
        }
        Ok(())
    })?;
    let [code, qemu_code, qemu_vars, vga_bios] = FILES.map(|(_, name)| folder.join(name));
    let length = code.metadata()?.len();
    // Bochs keeps at most 4 MiB of ROM there.
    ensure!(
        length <= 4 << 20,
        "the firmware of ovmf {} has {length} bytes, more than Bochs takes",
        ovmf.origin.version
    );
    Ok(Firmware {
        address: (1 << 32) - length,
        code,
        vga_bios,
        qemu_code,
        qemu_vars,
    })
}
