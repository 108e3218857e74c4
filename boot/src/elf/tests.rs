use super::*;
use alloc::vec;
use proptest::prelude::*;

const BASE: u64 = 0xffff_ffff_8000_0000;
const CODE: u64 = 0x1000;
const RELRO: u64 = 0x2000;
const DATA: u64 = 0x3000;
const TABLE: u64 = 0x200;
const DYNAMIC: u64 = 0x2f00;
const BSS_END: u64 = 0x5800;

/// A small executable of the shape that the linker makes: headers and relocations read-only, code, relocated
/// constants, data with zeroes behind. File offsets equal addresses.
struct File {
    kind: u16,
    segments: Vec<[u64; 5]>, // type, flags, start, bytes in the file, bytes in memory
    relocations: Vec<[u64; 3]>,
    dynamic: Vec<[u64; 2]>,
    entry: u64,
    section: &'static str,
}

const R: u64 = 4;
const W: u64 = PF_W as u64;
const X: u64 = PF_X as u64;
const LOAD: u64 = PT_LOAD as u64;

impl Default for File {
    fn default() -> Self {
        Self {
            kind: ET_DYN,
            segments: vec![
                [LOAD, R, 0, 0x400, 0x400],
                [LOAD, R | X, CODE, 0x20, 0x20],
                [LOAD, R | W, RELRO, 0x1000, 0x1000],
                [LOAD, R | W, DATA, 0x10, BSS_END - DATA],
                [u64::from(PT_DYNAMIC), R | W, DYNAMIC, 0x80, 0x80],
                [u64::from(PT_GNU_RELRO), R, RELRO, 0x1000, 0x1000],
            ],
            relocations: vec![[RELRO, 8, CODE + 4], [DATA + 8, 8, BSS_END]],
            dynamic: vec![],
            entry: CODE + 8,
            section: CONFIG_SECTION,
        }
    }
}

impl File {
    fn bytes(&self) -> Vec<u8> {
        let mut f = vec![0; 0x3100];
        let mut put =
            |at: u64, bytes: &[u8]| f[at as usize..][..bytes.len()].copy_from_slice(bytes);
        let half = |n: u64| (n as u16).to_le_bytes();
        put(0, &[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        put(16, &half(self.kind.into()));
        put(18, &half(EM_X86_64.into()));
        put(20, &[1]);
        put(24, &self.entry.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(40, &0x3040u64.to_le_bytes());
        put(52, &half(64));
        put(54, &half(56));
        put(56, &half(self.segments.len() as u64));
        put(58, &half(64));
        put(60, &half(2));
        put(62, &half(1));
        for (i, [kind, flags, start, stored, len]) in self.segments.iter().enumerate() {
            let at = 64 + 56 * i as u64;
            put(at, &(*kind as u32).to_le_bytes());
            put(at + 4, &(*flags as u32).to_le_bytes());
            for (field, value) in [start, start, start, stored, len].into_iter().enumerate() {
                put(at + 8 + 8 * field as u64, &value.to_le_bytes());
            }
            put(at + 48, &PAGE_SIZE.to_le_bytes());
        }
        for (i, words) in self.relocations.iter().enumerate() {
            for (field, value) in words.iter().enumerate() {
                put(
                    TABLE + 24 * i as u64 + 8 * field as u64,
                    &value.to_le_bytes(),
                );
            }
        }
        let size = 24 * self.relocations.len() as u64;
        let usual = [[7, TABLE], [8, size], [9, 24]];
        for (i, [tag, value]) in usual.iter().chain(&self.dynamic).enumerate() {
            put(DYNAMIC + 16 * i as u64, &tag.to_le_bytes());
            put(DYNAMIC + 16 * i as u64 + 8, &value.to_le_bytes());
        }
        put(CODE, &[0x90; 0x20]);
        put(DATA, &[0xdd; 8]);
        // Two sections: the loader's wishes, at 0x380, and the names, at 0x3010.
        put(0x380, b"wish");
        put(0x3011, self.section.as_bytes());
        for (i, [name, kind, at, len]) in
            [[1, 1, 0x380, 4], [0, 3, 0x3010, 0x30]].iter().enumerate()
        {
            let header = 0x3040 + 64 * i as u64;
            put(header, &(*name as u32).to_le_bytes());
            put(header + 4, &(*kind as u32).to_le_bytes());
            put(header + 24, &u64::to_le_bytes(*at));
            put(header + 32, &u64::to_le_bytes(*len));
        }
        f
    }

    fn error(&self) -> Option<ElfError> {
        let bytes = self.bytes();
        match Image::parse(&bytes) {
            Err(e) => Some(e),
            Ok(image) => image.load(&mut vec![0; image.span() as usize], BASE).err(),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut file = Self::default();
        change(&mut file);
        file
    }
}

fn word(memory: &[u8], at: u64) -> u64 {
    u64::from_le_bytes(memory[at as usize..][..8].try_into().unwrap())
}

#[test]
fn an_image_is_loaded_and_relocated() {
    let bytes = File::default().bytes();
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.span(), 0x6000);
    assert_eq!(image.entry(), CODE + 8);
    assert_eq!(image.config(), b"wish");
    let mut memory = vec![0; 0x6000];
    image.load(&mut memory, BASE).unwrap();
    assert_eq!(word(&memory, RELRO), BASE + CODE + 4);
    assert_eq!(word(&memory, DATA + 8), BASE + BSS_END);
    assert_eq!(word(&memory, CODE), 0x9090_9090_9090_9090);
    assert_eq!(word(&memory, DATA), 0xdddd_dddd_dddd_dddd);
    assert!(memory[DATA as usize + 0x10..].iter().all(|b| *b == 0));
}

#[test]
fn pages_have_the_rights_of_their_segments_and_relocated_constants_none_to_write() {
    let bytes = File::default().bytes();
    let image = Image::parse(&bytes).unwrap();
    let pages: Vec<_> = image.pages().collect();
    assert_eq!(
        pages,
        [
            (0..0x1000, Rights::R),
            (0x1000..0x2000, Rights::RX),
            (0x2000..0x3000, Rights::R),
            (0x3000..0x6000, Rights::RW),
        ]
    );
}

#[test]
fn what_is_behind_relocated_constants_stays_writable() {
    let file = File::with(|f| f.segments[5] = [u64::from(PT_GNU_RELRO), R, DATA, 0x1800, 0x1800]);
    let bytes = file.bytes();
    let pages: Vec<_> = Image::parse(&bytes).unwrap().pages().skip(2).collect();
    assert_eq!(
        pages,
        [
            (0x2000..0x3000, Rights::RW),
            (0x3000..0x4000, Rights::R),
            (0x4000..0x6000, Rights::RW),
        ]
    );
}

#[test]
fn other_files_are_refused() {
    assert_eq!(Image::parse(b"MZ").err(), Some(ElfError::Malformed));
    assert_eq!(File::with(|f| f.kind = 2).error(), Some(ElfError::Kind));
    let extra = |kind: u32| File::with(|f| f.segments.push([u64::from(kind), R, 0, 0, 0])).error();
    assert!(matches!(extra(PT_INTERP), Some(ElfError::Unsupported(_))));
    assert!(matches!(extra(PT_TLS), Some(ElfError::Unsupported(_))));
    let unnamed = File::with(|f| f.section = ".other");
    assert_eq!(unnamed.error(), Some(ElfError::Config));
}

#[test]
fn segments_are_apart_in_order_and_not_writable_and_executable() {
    let first = |segment: [u64; 5]| File::with(|f| f.segments[1] = segment).error();
    assert_eq!(
        first([LOAD, R | W | X, CODE, 0x20, 0x20]),
        Some(ElfError::WriteExecute(CODE))
    );
    // Two segments of different rights cannot share a page.
    assert_eq!(
        first([LOAD, R | X, 0xff0, 0x20, 0x20]),
        Some(ElfError::Segment(0xff0))
    );
    assert_eq!(
        first([LOAD, R | X, CODE, 0x20, 0x1001]),
        Some(ElfError::Segment(RELRO))
    );
    assert_eq!(
        first([LOAD, R | X, CODE, 0x20, 0x10]),
        Some(ElfError::Segment(CODE))
    );
    assert_eq!(
        first([LOAD, R | X, CODE, 0, 0]),
        Some(ElfError::Segment(CODE))
    );
    assert_eq!(
        first([LOAD, R | X, CODE, 0x10_0000, 0x10_0000]),
        Some(ElfError::Malformed)
    );
    let last = |segment: [u64; 5]| File::with(|f| f.segments[3] = segment).error();
    assert_eq!(
        last([LOAD, R | W, DATA, 0x10, SPAN_MAX]),
        Some(ElfError::Segment(DATA))
    );
    assert_eq!(
        last([LOAD, R | W, DATA, 0x10, u64::MAX]),
        Some(ElfError::Segment(DATA))
    );
}

#[test]
fn the_entry_point_is_code() {
    for entry in [0, DATA, CODE + 0x20, u64::MAX] {
        let file = File::with(|f| f.entry = entry);
        assert_eq!(file.error(), Some(ElfError::Entry(entry)));
    }
}

#[test]
fn relocations_other_than_relative_are_refused_by_number() {
    let with = |words| File::with(|f| f.relocations[1] = words).error();
    assert_eq!(with([DATA, 1, 0]), Some(ElfError::RelocationType(1)));
    assert_eq!(
        with([DATA, 8 | 1 << 32, 0]),
        Some(ElfError::RelocationType(8))
    );
}

#[test]
fn relocations_change_data_only_and_point_into_the_image() {
    let with = |at, to: i64| File::with(|f| f.relocations[1] = [at, 8, to as u64]).error();
    assert_eq!(with(DATA, 0), None);
    assert_eq!(with(BSS_END - 8, 0x6000), None);
    for (at, to) in [
        (CODE, 0),
        (0, 0),
        (BSS_END - 7, 0),
        (0x1_0000, 0),
        (u64::MAX - 3, 0),
        (DATA, 0x6001),
        (DATA, -1),
        (DATA, i64::MIN),
    ] {
        assert_eq!(
            with(at, to),
            Some(ElfError::Relocation(at)),
            "{at:#x} {to:#x}"
        );
    }
}

#[test]
fn the_relocation_table_lies_in_the_image() {
    let with = |entries: &[[u64; 2]]| File::with(|f| f.dynamic = entries.to_vec()).error();
    assert_eq!(with(&[[8, 24 * 1024]]), Some(ElfError::RelocationTable));
    assert_eq!(with(&[[7, u64::MAX - 8]]), Some(ElfError::RelocationTable));
    assert_eq!(with(&[[8, 23]]), Some(ElfError::RelocationTable));
    assert_eq!(with(&[[9, 16]]), Some(ElfError::RelocationTable));
    for tag in [17, 23, 36] {
        let got = with(&[[tag, TABLE]]);
        assert!(matches!(got, Some(ElfError::Unsupported(_))), "{tag}");
        assert_eq!(with(&[[0, 0], [tag, TABLE]]), None, "behind the end");
    }
}

proptest! {
    /// Whatever is damaged: no panic, no access outside, and no page both writable and executable.
    #[test]
    fn damaged_files_are_refused_or_loaded_within_bounds(
        damage in prop::collection::vec((0usize..0x3100, any::<u8>()), 1..6), len in 0usize..0x3200,
    ) {
        let mut bytes = File::default().bytes();
        for (at, value) in damage {
            bytes[at] = value;
        }
        bytes.truncate(len.max(0x200));
        if let Ok(image) = Image::parse(&bytes) {
            prop_assert!(image.span() <= SPAN_MAX);
            let mut end = 0;
            for (pages, rights) in image.pages() {
                prop_assert!(pages.start >= end && pages.end <= image.span());
                prop_assert!(!(rights.w && rights.x));
                end = pages.end;
            }
            let _ = image.load(&mut vec![0; image.span() as usize], BASE);
        }
    }

    /// The same for headers alone, where most decisions are made.
    #[test]
    fn damaged_headers_are_refused_or_loaded_within_bounds(
        damage in prop::collection::vec((0usize..0x200, any::<u8>()), 1..4),
    ) {
        let mut bytes = File::default().bytes();
        for (at, value) in damage {
            bytes[at] = value;
        }
        if let Ok(image) = Image::parse(&bytes) {
            let _ = image.load(&mut vec![0; image.span() as usize], BASE);
        }
    }
}
