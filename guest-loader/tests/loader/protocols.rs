//! Small valid kernels for PVH and Multiboot.

use crate::common::*;
use spec::multiboot::{Addresses, Header};
use zerocopy::IntoBytes;

/// As [`elf`], for 32-bit x86; virtual addresses are the physical ones from 3 GiB up.
pub(crate) fn elf32(entry: u32, segments: &[Phdr]) -> Vec<u8> {
    let mut f = vec![];
    f.extend(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    f.extend(2u16.to_le_bytes());
    f.extend(3u16.to_le_bytes());
    for word in [1, entry, 52, 0, 0] {
        f.extend(word.to_le_bytes());
    }
    for half in [52, 32, segments.len() as u16, 40, 0, 0] {
        f.extend(half.to_le_bytes());
    }
    for s in segments {
        let [offset, paddr, filesz, memsz] =
            [s.offset, s.paddr, s.filesz, s.memsz].map(|word| word as u32);
        let vaddr = paddr | 0xc000_0000;
        for word in [s.kind, offset, vaddr, paddr, filesz, memsz, s.flags, 0x1000] {
            f.extend(word.to_le_bytes());
        }
    }
    let len = f.len().max(0x400);
    f.extend((f.len()..len).map(|i| i as u8 | 1));
    f
}

/// Where [`NOTES`] are in the file.
const NOTES_AT: usize = 0x380;

/// A segment of notes.
pub(crate) const NOTES: Phdr = Phdr {
    kind: 4,
    flags: 4,
    offset: NOTES_AT as u64,
    paddr: 0,
    filesz: 0x40,
    memsz: 0x40,
};

/// Two ELF notes in the place of [`NOTES`]: another one of Xen's, and the entry point with this content.
pub(crate) fn noted(mut file: Vec<u8>, desc: &[u8]) -> Vec<u8> {
    let mut notes = vec![];
    for (kind, desc) in [(17u32, &b"yes\0"[..]), (18, desc)] {
        for word in [4, desc.len() as u32, kind] {
            notes.extend(word.to_le_bytes());
        }
        notes.extend(b"Xen\0");
        notes.extend(desc);
    }
    notes.resize(0x40, 0);
    file[NOTES_AT..][..0x40].copy_from_slice(&notes);
    file
}

/// A PVH kernel like Linux's: ELF64, its note 8 bytes.
pub(crate) fn pvh(entry: u64) -> Vec<u8> {
    // The entry point for 64-bit mode is not the one that counts.
    noted(elf(CODE.paddr, &[CODE, DATA, NOTES]), &entry.to_le_bytes())
}

/// A Multiboot header that adds up.
pub(crate) fn multiboot_header(flags: u32, addresses: Option<Addresses>) -> Vec<u8> {
    let header = Header {
        magic: Header::MAGIC,
        flags,
        checksum: 0u32.wrapping_sub(Header::MAGIC).wrapping_sub(flags),
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(addresses.iter().flat_map(IntoBytes::as_bytes));
    bytes
}

/// `file` with these bytes at `offset`.
pub(crate) fn patched(mut file: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    file[offset..][..bytes.len()].copy_from_slice(bytes);
    file
}

/// A Multiboot kernel by its program headers: ELF32, linked to the upper GiB.
pub(crate) fn multiboot_elf() -> Vec<u8> {
    let file = elf32(0xc020_0010, &[CODE, DATA]);
    patched(file, CODE.offset as usize, &multiboot_header(3, None))
}

/// Where the header of [`multiboot_flat`] is in the file.
pub(crate) const FLAT_HEADER: usize = 0x40;

/// The addresses of [`multiboot_flat`]: the file from offset 0x20 on goes to 2 MiB.
pub(crate) const FLAT: Addresses = Addresses {
    header_addr: 0x20_0020,
    load_addr: 0x20_0000,
    load_end_addr: 0x20_0180,
    bss_end_addr: 0x20_3000,
    entry_addr: 0x20_0080,
};

/// A Multiboot kernel by the address fields of its header.
pub(crate) fn multiboot_flat(addresses: Addresses) -> Vec<u8> {
    let file: Vec<u8> = (0..0x400).map(|i| i as u8 | 1).collect();
    patched(
        file,
        FLAT_HEADER,
        &multiboot_header(0x1_0003, Some(addresses)),
    )
}
