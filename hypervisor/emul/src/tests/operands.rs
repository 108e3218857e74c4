//! Forms that a user process cannot run, and how accesses reach the bus.

use super::fake::{Chips, Ram, long, protected, real};
use super::native::DATA;
use super::run;
use crate::Done;
use spec::cpu::{Gprs, Rflags, Segment};
use spec::pte::Pte;
use spec::state::CpuState;

const CHIP: u64 = 0xfee0_0000;

/// Without paging: code at 0, a chip of two pages.
fn run_flat(cpu: &CpuState, code: &[u8], gprs: &mut Gprs) -> (Done, Chips) {
    let ram = Ram::default();
    ram.pages.borrow_mut().add(0, 1);
    ram.set(cpu.rip, code);
    let mut chips = Chips::default();
    chips.pages.add(CHIP, 2);
    chips
        .pages
        .set(CHIP, &core::array::from_fn::<u8, 64, _>(|n| n as u8 | 0x80));
    let done = run(cpu, gprs, &ram, &mut chips).unwrap();
    (done, chips)
}

#[test]
fn sixteen_bit_addresses_wrap_within_their_segment() {
    let mut cpu = real();
    cpu.segments[3] = Segment {
        base: CHIP,
        ..cpu.segments[3]
    };
    let mut gprs = Gprs::default();
    // mov ax, [bx + si + 0x10]: 0xfff8 + 0x10 + 0x10 = 0x18; upper halves do not count.
    (gprs.0[3], gprs.0[6], gprs.0[0]) = (0xffff_fff8, 0xffff_0010, 0x1111_2222_3333_4444);
    let (done, chips) = run_flat(&cpu, &[0x8b, 0x40, 0x10], &mut gprs);
    assert_eq!(chips.seen, [(CHIP + 0x18, 2, None)]);
    assert_eq!(gprs.0[0], 0x1111_2222_3333_9998);
    assert_eq!(done.length, 3);
    // mov al, [0x20] and mov [0x24], ax by moffs.
    let (_, chips) = run_flat(&cpu, &[0xa0, 0x20, 0x00], &mut gprs);
    assert_eq!(chips.seen, [(CHIP + 0x20, 1, None)]);
    let (_, chips) = run_flat(&cpu, &[0xa3, 0x24, 0x00], &mut gprs);
    assert_eq!(chips.seen, [(CHIP + 0x24, 2, Some(0x99a0))]);
    // rep stosw counts in CX and moves DI alone.
    cpu.segments[0] = cpu.segments[3];
    (gprs.0[1], gprs.0[7]) = (0x5555_0002, 0x7777_0030);
    let (_, chips) = run_flat(&cpu, &[0xf3, 0xab], &mut gprs);
    assert_eq!(chips.seen.len(), 2);
    assert_eq!((gprs.0[1], gprs.0[7]), (0x5555_0000, 0x7777_0034));
}

#[test]
fn a_selector_is_stored() {
    let mut cpu = protected();
    cpu.segments[4].selector = 0x1234;
    let mut gprs = Gprs::default();
    gprs.0[7] = CHIP + 8;
    let (_, chips) = run_flat(&cpu, &[0x8c, 0x27], &mut gprs); // mov [edi], fs
    assert_eq!(chips.seen, [(CHIP + 8, 2, Some(0x1234))]);
}

#[test]
fn segment_bases_count_for_fs_and_gs_alone_in_64_bit_mode() {
    let ram = Ram::default();
    let root = ram.table();
    ram.pages.borrow_mut().add(DATA, 1);
    ram.map(root, 4, DATA, DATA, Pte::PRESENT);
    ram.map(root, 4, CHIP, CHIP, Pte::PRESENT | Pte::WRITE);
    let mut cpu = long(root);
    cpu.rip = DATA;
    for segment in &mut cpu.segments {
        segment.base = 0x100;
    }
    let seen = |code: &[u8]| {
        ram.set(DATA, code);
        let mut gprs = Gprs::default();
        gprs.0[7] = CHIP;
        let mut chips = Chips::default();
        run(&cpu, &mut gprs, &ram, &mut chips).unwrap();
        chips.seen[0].0
    };
    assert_eq!(seen(&[0x8b, 0x07]), CHIP);
    assert_eq!(seen(&[0x26, 0x8b, 0x07]), CHIP);
    assert_eq!(seen(&[0x64, 0x8b, 0x07]), CHIP + 0x100);
    assert_eq!(seen(&[0x65, 0x8b, 0x07]), CHIP + 0x100);
}

#[test]
fn one_access_is_one_access_of_the_bus_and_a_page_border_splits_it() {
    let cpu = protected();
    let border = CHIP + 0x1000;
    let at = |rdi| {
        let mut gprs = Gprs::default();
        (gprs.0[7], gprs.0[0]) = (rdi, 0x4433_2211);
        run_flat(&cpu, &[0x89, 0x07], &mut gprs).1.seen
    };
    assert_eq!(
        at(CHIP + 0x11),
        [(CHIP + 0x11, 4, Some(0x4433_2211))],
        "as it is, unaligned"
    );
    assert_eq!(
        at(border - 2),
        [(border - 2, 2, Some(0x2211)), (border, 2, Some(0x4433))]
    );
    assert_eq!(
        at(border - 3),
        [
            (border - 3, 1, Some(0x11)),
            (border - 2, 2, Some(0x3322)),
            (border, 1, Some(0x44))
        ]
    );
    assert_eq!(
        at(border - 1),
        [
            (border - 1, 1, Some(0x11)),
            (border, 2, Some(0x3322)),
            (border + 2, 1, Some(0x44))
        ]
    );
}

#[test]
fn moves_do_not_read_what_they_write() {
    let cpu = protected();
    let mut gprs = Gprs::default();
    gprs.0[7] = CHIP;
    let seen = |code: &[u8], gprs: &mut Gprs| run_flat(&cpu, code, gprs).1.seen;
    assert_eq!(
        seen(&[0xc6, 0x07, 0x5a], &mut gprs),
        [(CHIP, 1, Some(0x5a))]
    );
    assert_eq!(seen(&[0xaa], &mut gprs), [(CHIP, 1, Some(0))]);
    gprs.0[7] = CHIP;
    // A CMPXCHG that fails writes what it read.
    let failed = seen(&[0x0f, 0xb1, 0x0f], &mut gprs);
    assert_eq!(failed, [(CHIP, 4, None), (CHIP, 4, Some(0x8382_8180))]);
}

#[test]
fn a_long_repeat_stops_after_a_batch_and_goes_on() {
    let mut cpu = protected();
    cpu.rflags |= Rflags::RF.bits();
    let mut gprs = Gprs::default();
    (gprs.0[1], gprs.0[7]) = (100, CHIP);
    let (done, chips) = run_flat(&cpu, &[0xf3, 0xaa], &mut gprs);
    assert_eq!((done.length, chips.seen.len(), gprs.0[1]), (0, 64, 36));
    assert_ne!(
        done.rflags & Rflags::RF.bits(),
        0,
        "the instruction has not ended"
    );
    let (done, chips) = run_flat(&cpu, &[0xf3, 0xaa], &mut gprs);
    assert_eq!((done.length, chips.seen.len(), gprs.0[1]), (2, 36, 0));
    assert_eq!(done.rflags & Rflags::RF.bits(), 0);
}

#[test]
fn a_repeat_that_reaches_ram_or_a_fault_keeps_what_it_did() {
    let cpu = protected();
    let ram = Ram::default();
    ram.pages.borrow_mut().add(0, 1);
    ram.pages.borrow_mut().add(CHIP + 0x1000, 1);
    ram.set(0, &[0xf3, 0xa4]); // rep movsb
    let mut chips = Chips::default();
    chips.pages.add(CHIP, 1);
    let mut gprs = Gprs::default();
    // The source is RAM; the target is a chip for two bytes, and RAM afterwards.
    (gprs.0[1], gprs.0[6], gprs.0[7]) = (10, 0, CHIP + 0xffe);
    let done = run(&cpu, &mut gprs, &ram, &mut chips).unwrap();
    assert_eq!(
        (done.length, gprs.0[1], gprs.0[6], gprs.0[7]),
        (0, 8, 2, CHIP + 0x1000)
    );
    assert_eq!(
        chips.seen,
        [(CHIP + 0xffe, 1, Some(0xf3)), (CHIP + 0xfff, 1, Some(0xa4))]
    );
}

#[test]
fn the_stack_is_as_wide_as_its_segment_says() {
    let mut cpu = protected();
    cpu.segments[CpuState::SS].rights &= !Segment::DEFAULT_32;
    cpu.rsp = 0x7777_0002;
    let mut gprs = Gprs::default();
    gprs.0[7] = CHIP;
    cpu.rip = 0x100;
    let ram = Ram::default();
    ram.pages.borrow_mut().add(0, 16);
    ram.set(0x100, &[0x66, 0xff, 0x37]); // push word [edi]
    let mut chips = Chips::default();
    chips.pages.add(CHIP, 1);
    chips.pages.set(CHIP, &[0x34, 0x12]);
    let done = run(&cpu, &mut gprs, &ram, &mut chips).unwrap();
    assert_eq!(done.rsp, Some(0x7777_0000));
    assert_eq!(ram.get(0, 2), [0x34, 0x12]);
    // And it wraps: from 0 to 0xfffc.
    cpu.rsp = 0x7777_0000;
    ram.set(0x100, &[0xff, 0x37]);
    let done = run(&cpu, &mut gprs, &ram, &mut chips).unwrap();
    assert_eq!(done.rsp, Some(0x7777_fffc));
    assert_eq!(ram.get(0xfffc, 2), [0x34, 0x12]);
    // pop dword [esp + disp]: the address is computed after the increment.
    let mut cpu = protected();
    (cpu.rip, cpu.rsp) = (0x100, 0x200);
    ram.set(0x100, &[0x8f, 0x84, 0x24]);
    ram.set(0x103, &(CHIP as u32 - 0x204 + 0x40).to_le_bytes());
    let done = run(&cpu, &mut gprs, &ram, &mut chips).unwrap();
    assert_eq!(done.rsp, Some(0x204));
    assert_eq!(chips.seen.last().map(|seen| seen.0), Some(CHIP + 0x40));
}
