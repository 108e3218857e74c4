extern crate std;

use super::*;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind, Register};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

const CODE: Hpa = Hpa(0x8000);
const PML4: Hpa = Hpa(0x9000);
const ROOT: Hpa = Hpa(0x20_0000);
const LEN: usize = 0x20_1000;

/// Memory from address zero on.
fn memory() -> &'static mut [u64] {
    Box::leak(vec![0u64; LEN / 8].into_boxed_slice())
}

fn window(memory: &mut [u64]) -> Window {
    // SAFETY: the memory is leaked, and the tests look at it by volatile reads only while a trampoline is in use.
    unsafe { Window::new(memory.as_mut_ptr().cast(), LEN as u64) }
}

fn make(w: Window, code: Hpa, pml4: Hpa) -> Option<Trampoline> {
    // SAFETY: plain memory; nothing is sent anywhere before a local APIC was taken.
    unsafe { Trampoline::new(w, code, pml4, ROOT, Hz(1_000_000_000)) }
}

/// The instructions of one of the three parts, which must fill it exactly.
fn part(from: u32, to: u32, bits: u32) -> Vec<Instruction> {
    let bytes = &code::bytes()[from as usize..to as usize];
    let decoder = Decoder::with_ip(bits, bytes, u64::from(from), DecoderOptions::NONE);
    let all: Vec<_> = decoder.into_iter().collect();
    assert!(all.iter().all(|i| !i.is_invalid()), "{all:?}");
    assert_eq!(all.iter().map(Instruction::len).sum::<usize>(), bytes.len());
    all
}

fn parts() -> [Vec<Instruction>; 3] {
    let end = code::bytes().len() as u32;
    [
        part(0, code::offset_32(), 16),
        part(code::offset_32(), code::offset_64(), 32),
        part(code::offset_64(), end, 64),
    ]
}

#[test]
fn each_part_ends_by_leaving_for_the_next() {
    let [real, protected, long] = parts();
    let last = |p: &[Instruction]| p.last().map(Instruction::code);
    assert_eq!(last(&real), Some(Code::Jmp_m1632));
    assert_eq!(last(&protected), Some(Code::Jmp_m1632));
    assert!(long.iter().any(|i| i.code() == Code::Jmp_rm64));
    // Nothing but a jump back to HLT stands behind it.
    assert_eq!(last(&long), Some(Code::Jmp_rel8_64));
}

#[test]
fn memory_is_reached_through_the_page_only() {
    let block = code::BLOCK as u64..(code::BLOCK + size_of::<Block>()) as u64;
    for (bits, part) in [16, 32, 64].into_iter().zip(parts()) {
        for i in part {
            if !i.op_kinds().any(|k| k == OpKind::Memory) {
                continue;
            }
            let base = match bits {
                16 => Register::None,
                32 => Register::EBX,
                _ if i.memory_base() == Register::RBX => Register::RBX,
                _ => Register::RSI,
            };
            assert_eq!(i.memory_base(), base, "{i:?}");
            assert_eq!(i.memory_index(), Register::None, "{i:?}");
            assert!(block.contains(&i.memory_displacement64()), "{i:?}");
        }
    }
}

#[test]
fn the_page_holds_the_code_and_far_pointers_to_its_parts() {
    let memory = memory();
    let w = window(memory);
    memory[ROOT.0 as usize / 8 + 511] = 0x1234_5003;
    let t = make(w, CODE, PML4).unwrap();
    let p = w.pointer(CODE, PAGE_SIZE).unwrap();
    // SAFETY: plain memory of this test.
    let page = unsafe { core::slice::from_raw_parts(p, PAGE_SIZE as usize) };
    assert_eq!(&page[..code::bytes().len()], code::bytes());
    // SAFETY: as above.
    let block = unsafe { &*t.block };
    assert_eq!(t.block as usize, p as usize + code::BLOCK);
    let (to_32, to_64, gdtr) = (block.to_32, block.to_64, block.gdtr);
    assert_eq!({ to_32.offset }, 0x8000 + code::offset_32());
    assert_eq!({ to_64.offset }, 0x8000 + code::offset_64());
    assert_eq!({ gdtr.base }, 0x8800);
    assert_eq!({ gdtr.limit }, 31);
    assert_eq!(block.tables, 0x9000);
    assert_eq!(block.page, p as u64);
    assert_eq!(memory[PML4.0 as usize / 8 + 511], 0x1234_5003);
}

#[test]
fn far_pointers_name_present_accessed_segments_of_the_right_width() {
    for (selector, l, d) in [(selector::CODE_32, 0, 1), (selector::CODE_64, 1, 0)] {
        let descriptor = GDT[usize::from(selector / 8)];
        // P, DPL 0, S, code, readable, accessed (SDM vol. 3, "Segment Descriptors").
        assert_eq!(descriptor >> 40 & 0xff, 0x9b);
        assert_eq!((descriptor >> 53 & 1, descriptor >> 54 & 1), (l, d));
    }
    assert_eq!(GDT[usize::from(selector::DATA / 8)] >> 40 & 0xff, 0x93);
}

#[test]
fn places_where_a_core_cannot_begin_are_refused() {
    let w = window(memory());
    assert!(make(w, Hpa(0x10_0000), PML4).is_none(), "1 MiB");
    assert!(make(w, Hpa(0xa_0000), PML4).is_none(), "reserved vector");
    assert!(make(w, Hpa(0x8010), PML4).is_none(), "not a page");
    assert!(make(w, CODE, Hpa(0x9010)).is_none(), "not a frame");
    assert!(
        make(w, CODE, Hpa(1 << 32)).is_none(),
        "beyond CR3's 32 bits"
    );
    assert!(
        make(w, CODE, Hpa(0x40_0000)).is_none(),
        "outside the window"
    );
}

#[test]
fn a_ticket_is_new_each_time_and_is_withdrawn_only_if_no_core_has_it() {
    let w = window(memory());
    let mut t = make(w, CODE, PML4).unwrap();
    t.offer(1, 0x1000, 0x2000, 3);
    let first = t.counter().load(Ordering::Relaxed);
    assert_ne!(first, 0);
    assert!(t.withdraw(), "nobody has come");
    t.offer(2, 0x1000, 0x2000, 3);
    let second = t.counter().load(Ordering::Relaxed);
    assert_ne!(
        first, second,
        "what the late core has read is no longer valid"
    );
    // What the code does.
    assert!(
        t.counter()
            .compare_exchange(first, 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
    );
    assert!(
        t.counter()
            .compare_exchange(second, 0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    );
    assert!(!t.withdraw(), "the core is under way");
}
