//! Stacks and what lies between them.

use super::frames::{K4, M2, Mem};
use crate::*;
use spec::Hpa;

const START: u64 = 0xffff_fd00_0000_0000;

fn tables() -> Tables<Long, Mem> {
    let format = Long {
        largest: Level::MIB_2,
        global: true,
    };
    Tables::new(format, Mem::with(100)).unwrap()
}

#[test]
fn each_stack_lies_between_pages_that_are_not_mapped() {
    let (mut t, mut stacks) = (tables(), Stacks::from(Hva(START)));
    let mut frame = 0;
    let mut frames = || {
        frame += K4;
        Some(Hpa(frame))
    };
    // As cores have them; one that fills a large page's worth of addresses, and one of a single page.
    for pages in [4, 4, 4, 32, 512, 1, 4] {
        let top = stacks.add(&mut t, pages, &mut frames).unwrap();
        let bottom = top - pages * K4;
        assert!(t.translate(Hva(bottom - 1)).is_none(), "{bottom:#x}");
        assert!(t.translate(Hva(top)).is_none(), "{top:#x}");
        for at in (bottom..top).step_by(K4 as usize) {
            let (_, rights, size) = t.translate(Hva(at)).unwrap();
            assert_eq!((rights, size), (Rights::RW, K4));
        }
    }
}

#[test]
fn a_stack_that_could_not_be_made_takes_no_hole_away() {
    let (mut t, mut stacks) = (tables(), Stacks::from(Hva(START)));
    let mut left = 3;
    let mut few = || {
        left -= 1;
        (left > 0).then_some(Hpa(left * M2))
    };
    assert_eq!(stacks.add(&mut t, 4, &mut few), Err(Error::Frames));
    let top = stacks.add(&mut t, 1, || Some(Hpa(0))).unwrap();
    assert!(t.translate(Hva(top - K4 - 1)).is_none());
    assert!(t.translate(Hva(top)).is_none());
}

#[test]
fn stacks_end_with_the_address_space() {
    let (mut t, mut stacks) = (tables(), Stacks::from(Hva(u64::MAX - 3 * K4 + 1)));
    let made = stacks.add(&mut t, 4, || Some(Hpa(0)));
    assert_eq!(made, Err(Error::Range));
}
