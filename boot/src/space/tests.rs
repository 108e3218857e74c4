use super::*;
use alloc::collections::BTreeMap;
use alloc::vec;
use core::cell::RefCell;

/// Frames far away from all that is mapped, each zeroed, as many as are allowed.
#[derive(Default)]
struct Fake {
    frames: RefCell<BTreeMap<u64, [u64; 512]>>,
    limit: Option<usize>,
}

const FIRST: u64 = 0x7000_0000_0000;

impl TableMem for &Fake {
    fn alloc(&mut self) -> Option<Hpa> {
        let mut frames = self.frames.borrow_mut();
        if self.limit.is_some_and(|limit| frames.len() >= limit) {
            return None;
        }
        let at = FIRST + frames.len() as u64 * PAGE_SIZE;
        frames.insert(at, [0; 512]);
        Some(Hpa(at))
    }

    fn free(&mut self, _: Hpa) {}

    fn read(&self, frame: Hpa, index: usize) -> u64 {
        self.frames.borrow()[&frame.0][index]
    }

    fn write(&mut self, frame: Hpa, index: usize, entry: u64) {
        self.frames.borrow_mut().get_mut(&frame.0).unwrap()[index] = entry;
    }
}

/// A page: where it leads, its size, its last entry.
type Found = (u64, u64, Pte);

impl Fake {
    /// Walks as the processor does: SDM vol. 3, "Linear-Address Translation with 4-Level Paging and 5-Level Paging".
    fn walk(&self, root: Hpa, levels: u32, at: u64) -> Option<Found> {
        let mut table = root.0;
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let entry = self.frames.borrow()[&table][(at >> shift & 511) as usize];
            let bits = Pte::from_bits_retain(entry);
            if !bits.contains(Pte::PRESENT) {
                return None;
            }
            if level == 0 || bits.contains(Pte::PAGE) {
                let start = (bits & Pte::FRAME).bits();
                assert_eq!(
                    start & ((1 << shift) - 1),
                    0,
                    "reserved bits of a large page"
                );
                return Some((start + (at & ((1 << shift) - 1)), 1 << shift, bits));
            }
            table = (bits & Pte::FRAME).bits();
        }
        None
    }
}

const RAM: &[(u64, u64)] = &[
    (0, 0xa_0000),
    (0x10_0000, 0xbfff_5000),
    (0x1_0000_0000, 0x3_4000_0000),
];
const IMAGE_AT: Hpa = Hpa(0x1234_5000);

fn map(pages: &[(core::ops::Range<u64>, Rights)]) -> Map<'_> {
    Map {
        ram: RAM,
        image: IMAGE_AT,
        pages,
        stack: (Hpa(0x2000_0000), 0x4000),
        screen: Some((Hpa(0x40_8000_0000), 0x30_0000)),
        jump: (Hpa(0x1e2f_f000), 0x2000),
    }
}

fn pages() -> Vec<(core::ops::Range<u64>, Rights)> {
    vec![
        (0..0x3000, Rights::R),
        (0x3000..0xc000, Rights::RX),
        (0xd000..0xe000, Rights::R),
        (0xe000..0x1_0000, Rights::RW),
    ]
}

const BOTH: [Paging; 2] = [
    Paging {
        gib_pages: true,
        five_levels: false,
    },
    Paging {
        gib_pages: false,
        five_levels: true,
    },
];

fn built(paging: Paging) -> (Fake, Hpa, u32) {
    let fake = Fake::default();
    let root = build(&map(&pages()), paging, &fake).unwrap();
    (fake, root, if paging.five_levels { 5 } else { 4 })
}

#[test]
fn all_is_where_the_hypervisor_is_told() {
    for paging in BOTH {
        let (fake, root, levels) = built(paging);
        let leads = |at| fake.walk(root, levels, at).map(|f| f.0);
        for at in [
            0,
            0x9_f000,
            0xa_0000,
            0x1f_ffff,
            0xbfff_5000,
            0xfee0_0030,
            0x3_3fff_ffff,
        ] {
            assert_eq!(leads(PHYSICAL + at), Some(at), "{at:#x}");
        }
        assert_eq!(leads(PHYSICAL + 0x3_4000_0000), None);
        assert_eq!(leads(IMAGE + 0x3004), Some(IMAGE_AT.0 + 0x3004));
        assert_eq!(leads(IMAGE + 0xc000), None, "a page between segments");
        assert_eq!(leads(IMAGE + 0x1_0000), None);
        assert_eq!(leads(STACK), Some(0x2000_0000));
        assert_eq!(leads(STACK + 0x3fff), Some(0x2000_3fff));
        assert_eq!(leads(STACK - 1), None, "the guard page");
        assert_eq!(leads(STACK + 0x4000), None);
        assert_eq!(leads(SCREEN + 0x2f_ffff), Some(0x40_802f_ffff));
        assert_eq!(leads(0x1e2f_f000), Some(0x1e2f_f000));
        assert_eq!(leads(0x1e30_0fff), Some(0x1e30_0fff));
        assert_eq!(
            leads(0x1e30_1000),
            None,
            "only the jump is mapped one to one"
        );
        assert_eq!(leads(0), None);
    }
}

#[test]
fn nothing_is_writable_and_executable() {
    for paging in BOTH {
        let (fake, root, levels) = built(paging);
        let rights = |at| {
            let (_, _, bits) = fake.walk(root, levels, at).unwrap();
            assert!(!bits.contains(Pte::USER));
            (bits.contains(Pte::WRITE), !bits.contains(Pte::NO_EXECUTE))
        };
        assert_eq!(rights(IMAGE), (false, false));
        assert_eq!(rights(IMAGE + 0x3000), (false, true));
        assert_eq!(rights(IMAGE + 0xd000), (false, false));
        assert_eq!(rights(IMAGE + 0xe000), (true, false));
        assert_eq!(rights(0x1e2f_f000), (false, true));
        for at in [PHYSICAL, PHYSICAL + 0x1_0000_0000, STACK, SCREEN] {
            assert_eq!(rights(at), (true, false));
        }
    }
}

#[test]
fn no_large_page_spans_two_memory_types() {
    for paging in BOTH {
        let (fake, root, levels) = built(paging);
        let mut at = 0;
        let mut largest = 0;
        while let Some((_, size, _)) = fake.walk(root, levels, PHYSICAL + at) {
            if at < FIXED_MTRRS {
                assert_eq!(size, PAGE_SIZE);
            }
            for (start, end) in RAM {
                let inside = at >= *start && at + size <= *end;
                let outside = at + size <= *start || at >= *end;
                assert!(inside || outside, "{at:#x} and {size:#x} bytes");
            }
            largest = largest.max(size);
            at += size;
        }
        assert_eq!(at, 0x3_4000_0000);
        assert_eq!(largest, if paging.gib_pages { 1 << 30 } else { 2 << 20 });
    }
}

#[test]
fn chips_are_mapped_on_a_small_machine_and_the_window_ends() {
    assert_eq!(pieces(&[(0, 0x1000_0000)]).last().unwrap().1, 4 << 30);
    assert_eq!(pieces(&[]).last().unwrap().1, 4 << 30);
    let huge = pieces(&[(1 << 50, 1 << 51)]);
    assert_eq!(huge.last().unwrap().1, PHYSICAL_MAX);
    assert!(huge.windows(2).all(|w| w[0].1 == w[1].0));
}

#[test]
fn too_few_frames_are_an_error() {
    let fake = Fake {
        limit: Some(7),
        ..Fake::default()
    };
    assert_eq!(build(&map(&pages()), BOTH[0], &fake), Err(Error::Frames));
}

#[test]
fn overlapping_wishes_are_an_error() {
    let twice = [(0..0x2000, Rights::R), (0x1000..0x3000, Rights::RW)];
    let fake = Fake::default();
    let got = build(&map(&twice), BOTH[0], &fake);
    assert_eq!(got, Err(Error::Overlap(Hva(IMAGE + 0x1000))));
}

#[test]
fn a_screen_is_mapped_in_whole_pages() {
    assert_eq!(whole_pages(Hpa(0x1800), 0x900), (Hpa(0x1000), 0x2000));
    assert_eq!(whole_pages(Hpa(0x1000), 0x1000), (Hpa(0x1000), 0x1000));
}
