//! Where each guest is linked to. They are no position-independent executables: what loads them applies no relocations.

/// Where an ELF64 guest lies.
const ELF: u64 = 0x10_0000;
/// Flat guests, and where each of them lies and starts: a real-mode start has to be below 1 MiB.
const FLAT: &[(&str, u64)] = &[
    ("start_real", 0x8000),
    ("start_protected", 0x20_0000),
    ("start_flat_long", 0x20_0000),
    ("start_multiboot_flat", 0x30_0000),
];

fn main() {
    println!("cargo::rerun-if-changed=guest.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rustc-link-arg-bins=-no-pie");
    println!("cargo::rustc-link-arg-bins=-T{folder}/guest.ld");
    for file in std::fs::read_dir("src/bin").into_iter().flatten().flatten() {
        let path = file.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
            continue;
        };
        let flat = FLAT.iter().find(|(flat, _)| *flat == name);
        let base = flat.map_or(ELF, |(_, base)| *base);
        println!("cargo::rustc-link-arg-bin={name}=--defsym=BASE={base:#x}");
    }
    println!("cargo::rerun-if-changed=src/bin");
}
