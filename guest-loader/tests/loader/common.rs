//! A guest's memory that notes what is written where, and small valid kernels of each kind.

use seam::{AccessError, GuestMem};
use spec::Gpa;
use spec::linux::{E820Kind, MemoryRange, SetupHeader};
use std::cell::RefCell;
use std::collections::BTreeMap;
use zerocopy::{FromZeros, IntoBytes};

pub(crate) const RSDP: Gpa = Gpa(0xe_0000);

/// 64 MiB in the shape of a PC's memory: low RAM, a reserved range that RAM backs, RAM from 1 MiB up.
pub(crate) const MAP: [MemoryRange; 3] = [
    range(0, 0xa_0000, E820Kind::Ram),
    range(0xe_0000, 0x2_0000, E820Kind::Reserved),
    range(0x10_0000, 63 << 20, E820Kind::Ram),
];

pub(crate) const fn range(start: u64, len: u64, kind: E820Kind) -> MemoryRange {
    MemoryRange {
        start: Gpa(start),
        len,
        kind,
    }
}

/// Memory that keeps only what was written. It refuses, and remembers, any write that leaves the RAM ranges.
pub(crate) struct FakeMem {
    map: Vec<MemoryRange>,
    writes: RefCell<BTreeMap<u64, Vec<u8>>>,
    outside: RefCell<Vec<(Gpa, u64)>>,
}

impl FakeMem {
    pub(crate) fn new(map: &[MemoryRange]) -> Self {
        Self {
            map: map.to_vec(),
            writes: RefCell::default(),
            outside: RefCell::default(),
        }
    }

    fn check(&self, gpa: Gpa, len: u64) -> Result<(), AccessError> {
        let ok = self.map.iter().any(|r| {
            r.kind == E820Kind::Ram
                && r.start <= gpa
                && gpa.checked_add(len).is_some_and(|e| e <= r.end().unwrap())
        });
        if ok {
            return Ok(());
        }
        self.outside.borrow_mut().push((gpa, len));
        Err(AccessError::Absent)
    }

    /// Writes that were tried outside of RAM.
    pub(crate) fn outside(&self) -> Vec<(Gpa, u64)> {
        self.outside.borrow().clone()
    }

    /// Panics if two writes touch the same byte: each byte has one owner.
    pub(crate) fn assert_disjoint(&self) {
        let mut last = 0;
        for (start, bytes) in self.writes.borrow().iter() {
            assert!(*start >= last, "written twice: {start:#x}");
            last = start + bytes.len() as u64;
        }
    }

    /// The bytes at `gpa`, zero where nothing was written.
    pub(crate) fn get(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        for (start, bytes) in self.writes.borrow().iter() {
            for (i, b) in bytes.iter().enumerate() {
                if let Some(slot) = (start + i as u64)
                    .checked_sub(gpa)
                    .and_then(|o| out.get_mut(o as usize))
                {
                    *slot = *b;
                }
            }
        }
        out
    }

    pub(crate) fn u64_at(&self, gpa: u64) -> u64 {
        u64::from_le_bytes(self.get(gpa, 8).try_into().unwrap())
    }
}

impl GuestMem for FakeMem {
    fn read_into(&self, gpa: Gpa, into: &mut [u8]) -> Result<(), AccessError> {
        self.check(gpa, into.len() as u64)?;
        into.copy_from_slice(&self.get(gpa.0, into.len()));
        Ok(())
    }

    fn write_from(&self, gpa: Gpa, from: &[u8]) -> Result<(), AccessError> {
        self.check(gpa, from.len() as u64)?;
        if !from.is_empty() {
            self.writes.borrow_mut().insert(gpa.0, from.to_vec());
        }
        Ok(())
    }

    fn zero(&self, gpa: Gpa, len: u64) -> Result<(), AccessError> {
        self.check(gpa, len)
    }

    fn read_u64(&self, gpa: Gpa) -> Result<u64, AccessError> {
        self.check(gpa, 8)?;
        Ok(self.u64_at(gpa.0))
    }

    fn compare_exchange_u64(&self, _: Gpa, _: u64, _: u64) -> Result<bool, AccessError> {
        unreachable!("a loader has no use for it")
    }
}

/// Bytes of the protected-mode code of [`bzimage`].
pub(crate) const CODE_LEN: usize = 0x2000;
/// Where [`bzimage`] would like to be.
pub(crate) const PREFERRED: u64 = 0x100_0000;
/// Memory in which [`bzimage`] unpacks itself.
pub(crate) const INIT_SIZE: u32 = 0x10_0000;

/// The setup header of [`bzimage`], with the values of a Debian kernel where these do not depend on its size.
pub(crate) fn header() -> SetupHeader {
    SetupHeader {
        setup_sects: 2,
        syssize: (CODE_LEN / 16) as u32,
        boot_flag: 0xaa55,
        jump: [0xeb, 0x6a],
        header: *b"HdrS",
        version: 0x020f,
        loadflags: 1,
        initrd_addr_max: 0x7fff_ffff,
        kernel_alignment: 0x20_0000,
        relocatable_kernel: 1,
        min_alignment: 21,
        xloadflags: 0x7f,
        cmdline_size: 2047,
        setup_data: 0xdead_beef,
        pref_address: PREFERRED,
        init_size: INIT_SIZE,
        kernel_info_offset: 0x1234,
        ..SetupHeader::new_zeroed()
    }
}

/// A bzImage with this header, whose code bytes count up, followed by a signature that is not code.
pub(crate) fn bzimage(hdr: SetupHeader) -> Vec<u8> {
    let mut file = vec![0x5a; 3 * 512];
    let end = SetupHeader::OFFSET + size_of::<SetupHeader>();
    file[SetupHeader::OFFSET..end].copy_from_slice(hdr.as_bytes());
    file.extend((0..CODE_LEN).map(|i| i as u8 | 1));
    file.extend(b"signature");
    file
}

/// One program header of [`elf`].
#[derive(Clone)]
pub(crate) struct Phdr {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) paddr: u64,
    pub(crate) filesz: u64,
    pub(crate) memsz: u64,
}

/// A segment that holds code.
pub(crate) const CODE: Phdr = Phdr {
    kind: 1,
    flags: 5,
    offset: 0x200,
    paddr: 0x20_0000,
    filesz: 0x100,
    memsz: 0x100,
};

/// A segment that holds data, most of it zero.
pub(crate) const DATA: Phdr = Phdr {
    kind: 1,
    flags: 6,
    offset: 0x300,
    paddr: 0x20_1000,
    filesz: 0x10,
    memsz: 0x8000,
};

/// An ELF64 executable of 0x400 bytes with these segments; virtual addresses are not the physical ones.
pub(crate) fn elf(entry: u64, segments: &[Phdr]) -> Vec<u8> {
    let mut f = vec![];
    f.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    f.extend(2u16.to_le_bytes());
    f.extend(62u16.to_le_bytes());
    f.extend(1u32.to_le_bytes());
    for word in [entry, 64, 0] {
        f.extend(word.to_le_bytes());
    }
    f.extend(0u32.to_le_bytes());
    for half in [64, 56, segments.len() as u16, 64, 0, 0] {
        f.extend(half.to_le_bytes());
    }
    for s in segments {
        f.extend(s.kind.to_le_bytes());
        f.extend(s.flags.to_le_bytes());
        let vaddr = s.paddr | 0xffff_ffff_8000_0000;
        for word in [s.offset, vaddr, s.paddr, s.filesz, s.memsz, 0x1000] {
            f.extend(word.to_le_bytes());
        }
    }
    let len = f.len().max(0x400);
    f.extend((f.len()..len).map(|i| i as u8 | 1));
    f
}
