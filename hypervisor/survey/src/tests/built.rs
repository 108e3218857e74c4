//! What crate `paging` builds is read as it was meant.

use super::*;
use paging::{Ept, Format, Hva, Level, Long, Met, Rights, Tables};
use proptest::prelude::*;
use spec::memory_type::MemoryType;
use spec::{Gpa, Hpa};

const K4: u64 = 1 << 12;
const M2: u64 = 1 << 21;
const G1: u64 = 1 << 30;

/// As `paging` has the PAT.
const PAT: u64 = 0x0007_0406_0007_0406;

#[derive(Clone, Debug)]
struct Piece {
    at: u64,
    to: u64,
    len: u64,
    rights: Rights,
    cache: MemoryType,
    unmap: bool,
}

/// Pieces that overlap, touch, and have large pages in them.
fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let address = (0..3u64, 0..4u64, prop_oneof![Just(0), Just(1), Just(511)])
        .prop_map(|(g, m, k)| g * G1 + m * M2 + k * K4);
    let offset = prop_oneof![Just(0), Just(4 * G1), Just(7 * M2), Just(K4)];
    let len = prop_oneof![Just(K4), Just(3 * K4), Just(M2), Just(3 * M2), Just(G1)];
    let rights = prop::sample::select(vec![Rights::R, Rights::RW, Rights::RX]);
    let cache = prop::sample::select(vec![MemoryType::WriteBack, MemoryType::Uncacheable]);
    let piece = (
        address,
        offset,
        len,
        rights,
        cache,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(at, offset, len, rights, cache, unmap)| Piece {
            at,
            to: at + offset,
            // A GiB in 4 KiB pages is a test of patience.
            len: if offset == K4 { len.min(M2) } else { len },
            rights,
            cache,
            unmap,
        });
    prop::collection::vec(piece, 0..12)
}

fn build<F: Format>(
    format: F,
    pieces: &[Piece],
    address: impl Fn(u64) -> F::Address,
) -> (Tables<F, Fake>, Fake) {
    let memory = Fake::default();
    let mut tables = Tables::new(format, memory.clone()).unwrap();
    for piece in pieces {
        // What overlaps is refused, and changes nothing.
        if piece.unmap {
            let _ = tables.unmap(address(piece.at), piece.len, || {});
        } else {
            let at = address(piece.at);
            let _ = tables.map(at, Hpa(piece.to), piece.len, piece.rights, piece.cache);
        }
    }
    (tables, memory)
}

/// What the tables were built to say, page by page, and the frames that they take.
fn meant<F: Format>(
    tables: &Tables<F, Fake>,
    value: impl Fn(F::Address) -> u64,
) -> (Vec<Mapping>, Vec<u64>) {
    let (mut pages, mut frames) = (Vec::new(), Vec::new());
    tables.walk(&mut |met| match met {
        Met::Table(frame) => frames.push(frame.0),
        Met::Page(page) => pages.push(Mapping {
            at: value(page.at),
            frame: page.frame.0,
            len: page.size,
            read: page.rights.r,
            write: page.rights.w,
            execute: page.rights.x,
            cache: match page.cache {
                MemoryType::Uncacheable => Cache::Uncacheable,
                _ => Cache::WriteBack,
            },
        }),
    });
    frames.sort_unstable();
    (pages, frames)
}

/// 4 KiB by 4 KiB would be many: both cut where either has a border.
fn check(read: &Reached, pages: &[Mapping], frames: &[u64]) {
    let mut left = pages.iter().copied();
    for told in &read.mappings {
        let mut done = 0;
        while done < told.len {
            let page = left.next().expect("what is told is mapped");
            let part = Mapping {
                at: told.at + done,
                frame: told.frame + done,
                len: page.len,
                ..*told
            };
            assert_eq!(part, page);
            done += page.len;
        }
        assert_eq!(done, told.len);
    }
    assert_eq!(left.next(), None, "what is mapped is told");
    for pair in read.mappings.windows(2) {
        let goes_on = Mapping {
            at: pair[0].at + pair[0].len,
            frame: pair[0].frame + pair[0].len,
            len: pair[1].len,
            ..pair[0]
        };
        assert_ne!(goes_on, pair[1], "neighbours that could be one are one");
    }
    let each = |range: &Range| {
        (0..range.len / K4)
            .map(|n| range.start + n * K4)
            .collect::<Vec<_>>()
    };
    let told: Vec<u64> = read.tables.iter().flat_map(each).collect();
    assert_eq!(told, frames);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nested_tables_are_read_as_they_were_meant(pieces in pieces(), largest in 1..4u8) {
        let largest = [Level::KIB_4, Level::MIB_2, Level::GIB_1][usize::from(largest) - 1];
        let pieces: Vec<Piece> = pieces.into_iter().filter(|p| largest > Level::KIB_4 || p.len <= M2).collect();
        let (tables, memory) = build(Ept { largest, execute_only: false }, &pieces, Gpa);
        let (pages, frames) = meant(&tables, |at| at.0);
        let read = nested(&memory, tables.root().0 | 0x1e).unwrap();
        check(&read, &pages, &frames);
        prop_assert_eq!(frames, memory.frames());
    }

    #[test]
    fn linear_tables_are_read_as_they_were_meant(pieces in pieces(), upper in any::<bool>()) {
        let base = if upper { 0xffff_fd00_0000_0000 } else { 0 };
        let format = Long { largest: Level::GIB_1, global: true };
        let (tables, memory) = build(format, &pieces, |at| Hva(base + at));
        let (pages, frames) = meant(&tables, |at| at.0);
        let read = linear(&memory, tables.root().0, PAT, Half::Both).unwrap();
        check(&read, &pages, &frames);
        let lower = linear(&memory, tables.root().0, PAT, Half::Lower).unwrap();
        prop_assert_eq!(lower.mappings.is_empty(), upper || pages.is_empty());
    }
}
