//! Page sizes, entry bits and refusals, one by one.

use super::frames::*;
use crate::*;
use spec::{Gpa, Hpa, memory_type::MemoryType};
use std::vec::Vec;

#[test]
fn the_largest_pages_that_fit_are_used() {
    let mem = Mem::with(100);
    let mut t = tables(&mem, Level::GIB_1);
    let wb = MemoryType::WriteBack;
    t.map(Gpa(0), Hpa(4 * G1), 2 * G1 + M2 + K4, Rights::RWX, wb)
        .unwrap();
    let sizes: Vec<_> = pages(&t).iter().map(|p| p.size).collect();
    assert_eq!(sizes, [G1, G1, M2, K4]);
    assert_eq!(
        t.translate(Gpa(G1 + 5)),
        Some((Hpa(5 * G1 + 5), Rights::RWX, G1))
    );
    assert_eq!(t.translate(Gpa(2 * G1 + M2 + K4)), None);

    let mut t = tables(&mem, Level::MIB_2);
    t.map(Gpa(0), Hpa(0), G1, Rights::RW, wb).unwrap();
    assert!(pages(&t).iter().all(|p| p.size == M2));

    let mut t = tables(&mem, Level::GIB_1);
    t.map(Gpa(0), Hpa(K4), 2 * M2, Rights::R, wb).unwrap();
    assert!(pages(&t).iter().all(|p| p.size == K4));
}

#[test]
fn an_ept_entry_has_the_bits_of_the_manual() {
    let mem = Mem::with(10);
    let mut t = tables(&mem, Level::MIB_2);
    t.map(Gpa(0), Hpa(M2), M2, Rights::RWX, MemoryType::WriteBack)
        .unwrap();
    t.map(Gpa(M2), Hpa(3 * K4), K4, Rights::R, MemoryType::Uncacheable)
        .unwrap();
    let frames = mem.frames();
    let next = |table: u64, index: usize| frames[&table][index];
    let directory = next(next(t.root().0, 0) & !0xfff, 0) & !0xfff;
    assert_eq!(next(directory, 0), M2 | 0x80 | (6 << 3) | 7);
    assert_eq!(next(next(directory, 1) & !0xfff, 0), (3 * K4) | 1);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let mem = Mem::with(10);
    let mut t = tables(&mem, Level::GIB_1);
    let wb = MemoryType::WriteBack;
    let w = Rights {
        r: false,
        w: true,
        x: false,
    };
    let x = Rights {
        r: false,
        w: false,
        x: true,
    };
    let mut map = |gpa, hpa, len, rights| t.map(Gpa(gpa), Hpa(hpa), len, rights, wb);
    assert_eq!(map(1, 0, K4, Rights::R), Err(Error::Alignment));
    assert_eq!(map(0, 1, K4, Rights::R), Err(Error::Alignment));
    assert_eq!(map(0, 0, 1, Rights::R), Err(Error::Alignment));
    assert_eq!(map(0, 0, 0, Rights::R), Err(Error::Alignment));
    assert_eq!(map(1 << 48, 0, K4, Rights::R), Err(Error::Range));
    assert_eq!(map((1 << 48) - K4, 0, 2 * K4, Rights::R), Err(Error::Range));
    assert_eq!(map(K4, 0, !(K4 - 1), Rights::R), Err(Error::Range));
    assert_eq!(map(0, 1 << 52, K4, Rights::R), Err(Error::Range));
    assert_eq!(map(0, (1 << 52) - K4, 2 * K4, Rights::R), Err(Error::Range));
    assert_eq!(
        map(0, !(K4 - 1), K4, Rights::R),
        Err(Error::Range),
        "the last byte of all"
    );
    assert_eq!(map(0, 0, K4, w), Err(Error::Rights));
    assert_eq!(map(0, 0, K4, x), Err(Error::Rights));
    assert_eq!(map((1 << 48) - K4, (1 << 52) - K4, K4, Rights::R), Ok(()));
    let execute_only = Ept {
        largest: Level::KIB_4,
        execute_only: true,
    };
    let mut t = Tables::new(execute_only, Mem::with(10)).unwrap();
    assert_eq!(t.map(Gpa(0), Hpa(0), K4, x, wb), Ok(()));
    assert_eq!(t.translate(Gpa(0)), Some((Hpa(0), x, K4)));
}

#[test]
fn an_overlap_is_refused_and_changes_nothing() {
    let mem = Mem::with(100);
    let mut t = tables(&mem, Level::GIB_1);
    let wb = MemoryType::WriteBack;
    t.map(Gpa(G1 + 5 * K4), Hpa(0), K4, Rights::R, wb).unwrap();
    let before = mem.frames();
    let twice = t.map(Gpa(0), Hpa(0), 2 * G1, Rights::R, wb);
    assert_eq!(twice, Err(Error::Overlap(Gpa(G1 + 5 * K4))));
    assert_eq!(mem.frames(), before);
}

#[test]
fn the_host_format_is_write_xor_execute_and_canonical() {
    let mem = Mem::with(100);
    let long = Long {
        largest: Level::MIB_2,
        global: true,
    };
    let mut t = Tables::new(long, mem.clone()).unwrap();
    let wb = MemoryType::WriteBack;
    let top = 0xffff_ffff_ffe0_0000;
    assert_eq!(
        t.map(Hva(top), Hpa(0), M2, Rights::RWX, wb),
        Err(Error::Rights)
    );
    assert_eq!(
        t.map(Hva(1 << 47), Hpa(0), K4, Rights::RW, wb),
        Err(Error::Range)
    );
    assert_eq!(
        t.map(Hva((1 << 47) - K4), Hpa(0), 2 * K4, Rights::RW, wb),
        Err(Error::Range)
    );
    assert_eq!(
        t.map(Hva(top), Hpa(0), 2 * M2, Rights::RW, wb),
        Err(Error::Range)
    );
    assert_eq!(
        t.map(Hva(0), Hpa(0), K4, Rights::RW, MemoryType::WriteCombining),
        Err(Error::Rights)
    );
    t.map(Hva(top), Hpa(M2), M2, Rights::RX, wb).unwrap();
    t.map(Hva(K4), Hpa(K4), K4, Rights::RW, MemoryType::Uncacheable)
        .unwrap();
    t.map(
        Hva(2 * K4),
        Hpa(K4),
        K4,
        Rights::R,
        MemoryType::WriteThrough,
    )
    .unwrap();
    let frames = mem.frames();
    let follow = |path: &[usize]| {
        path.iter().fold(t.root().0, |table, index| {
            frames[&(table & 0x000f_ffff_ffff_f000)][*index]
        })
    };
    // Present, accessed, dirty, large, global; not writable, and executable.
    assert_eq!(follow(&[511, 511, 511]), M2 | 0x1e1);
    // Present, writable, uncached (PAT entry 3), accessed, dirty, global, not executable.
    assert_eq!(follow(&[0, 0, 0, 1]), K4 | (1 << 63) | 0x17b);
    let found = pages(&t);
    assert_eq!(found[0].at, Hva(K4));
    assert_eq!(found[0].cache, MemoryType::Uncacheable);
    assert_eq!(found[1].cache, MemoryType::WriteThrough);
    assert_eq!(
        (found[2].at, found[2].rights, found[2].size),
        (Hva(top), Rights::RX, M2)
    );
}

/// Against wider numbers, at all edges of what four levels reach and of what an address can name.
fn ranges_are_checked<F: Format>(reaches: impl Fn(u128, u128) -> bool) {
    let edges = || {
        let powers = [0, 12, 21, 30, 39, 47, 48, 52, 63].map(|bit| 1u64 << bit);
        let about = |n: u64| [n.wrapping_sub(K4), n.wrapping_sub(1), n, n.wrapping_add(K4)];
        powers
            .into_iter()
            .chain([0, (1u64 << 63) + (1 << 47), (1u64 << 47).wrapping_neg()])
            .flat_map(move |n: u64| about(n).into_iter().chain(about(n.wrapping_neg())))
            // Miri takes a thousand times as long.
            .step_by(if cfg!(miri) { 13 } else { 1 })
    };
    for (at, len) in edges().flat_map(|at| edges().map(move |len| (at, len))) {
        let is_paged = len != 0 && at % K4 == 0 && len % K4 == 0;
        let fits = is_paged && reaches(at.into(), u128::from(at) + u128::from(len));
        // An address of 64 bits as the format's own: what does not come back has no bits.
        let address = F::Address::from_bits(at & ((1 << 48) - 1));
        if address.value() != at {
            assert!(!reaches(at.into(), u128::from(at) + 1), "{at:#x}");
            continue;
        }
        let found = crate::tables::range::<F>(address, len);
        assert_eq!(found.is_ok(), fits, "{len:#x} from {at:#x}");
        if let Ok((from, end)) = found {
            assert_eq!((F::Address::from_bits(from).value(), end - from), (at, len));
        }
    }
}

#[test]
fn ranges_end_where_four_levels_do_and_never_wrap() {
    ranges_are_checked::<Ept>(|_, end| end <= 1 << 48);
    // The lower half, and the upper, which begins with a sign.
    ranges_are_checked::<Long>(|at, end| {
        end <= 1 << 47 || (1 << 64) - (1 << 47) <= at && end <= 1 << 64
    });
}
