//! What cannot be carried out, and that nothing has happened then.

use super::fake::{Chips, Ram, long, protected, real};
use super::run;
use crate::{Code, Error, Fault};
use proptest::prelude::*;
use spec::cpu::{Gprs, Segment, vector};
use spec::pte::Pte;
use spec::state::CpuState;
use spec::{Gpa, Vector};

const CHIP: u64 = 0xfee0_0000;
const CODE: u64 = 0x10_0000;
const RAM: u64 = 0x20_0000;

fn rw() -> Pte {
    Pte::PRESENT | Pte::WRITE
}

/// 64-bit mode: a page of code before an absent one, one of RAM, one of a chip before an absent one.
fn guest(code: &[u8]) -> (Ram, Chips, CpuState) {
    let ram = Ram::default();
    let root = ram.table();
    ram.pages.borrow_mut().add(CODE, 1);
    ram.pages.borrow_mut().add(RAM, 1);
    for page in [CODE, RAM, CHIP] {
        ram.map(root, 4, page, page, rw());
    }
    let mut cpu = long(root);
    cpu.rip = CODE + 0x1000 - code.len() as u64;
    ram.set(cpu.rip, code);
    let mut chips = Chips::default();
    chips.pages.add(CHIP, 1);
    (ram, chips, cpu)
}

fn injected(vector: Vector, error_code: Option<u32>, cr2: Option<u64>) -> Error {
    Error::Inject(Fault {
        vector,
        error_code,
        cr2,
    })
}

/// Runs with `registers` set and expects this error, no access of the bus, and unchanged registers.
fn refused(code: &[u8], registers: &[(usize, u64)], want: Error) {
    let (ram, mut chips, mut cpu) = guest(code);
    cpu.rsp = RAM + 0x800;
    let mut gprs = Gprs::default();
    for (register, value) in registers {
        gprs.0[*register] = *value;
    }
    let before = gprs;
    assert_eq!(
        run(&cpu, &mut gprs, &ram, &mut chips),
        Err(want),
        "{code:02x?}"
    );
    assert_eq!(gprs, before);
    assert_eq!(chips.seen, []);
}

#[test]
fn an_instruction_may_end_where_the_page_ends() {
    // mov eax, [rdi], then an absent page.
    let (ram, mut chips, cpu) = guest(&[0x8b, 0x07]);
    let mut gprs = Gprs::default();
    gprs.0[7] = CHIP + 0x20;
    let done = run(&cpu, &mut gprs, &ram, &mut chips).unwrap();
    assert_eq!((done.length, done.rsp), (2, None));
    assert_eq!(chips.seen, [(CHIP + 0x20, 4, None)]);
}

#[test]
fn a_fault_of_the_second_page_counts_for_an_instruction_that_reaches_it() {
    // The first two bytes of mov eax, [rdi + disp32].
    let fetch = injected(vector::PF, Some(0x10), Some(CODE + 0x1000));
    refused(&[0x8b, 0x87], &[(7, CHIP)], fetch);

    // Both pages there: one instruction.
    let (ram, mut chips, cpu) = guest(&[0x8b, 0x87]);
    ram.pages.borrow_mut().add(0x9000_0000, 1);
    ram.map(cpu.cr3, 4, CODE + 0x1000, 0x9000_0000, rw());
    ram.set(0x9000_0000, &0x30u32.to_le_bytes());
    let mut gprs = Gprs::default();
    gprs.0[7] = CHIP;
    assert_eq!(run(&cpu, &mut gprs, &ram, &mut chips).unwrap().length, 6);
    assert_eq!(chips.seen, [(CHIP + 0x30, 4, None)]);
}

#[test]
fn code_outside_memory_is_named() {
    let (ram, mut chips, mut cpu) = guest(&[0x90]);
    cpu.rip = CHIP + 0x10;
    let mut gprs = Gprs::default();
    let outside = Err(Error::Outside(Gpa(CHIP + 0x10)));
    assert_eq!(run(&cpu, &mut gprs, &ram, &mut chips), outside);
}

#[test]
fn what_is_not_emulated_shows_its_bytes() {
    let nops = |code: &[u8]| {
        let (ram, mut chips, cpu) = guest(&[code, &[0x90; 15][code.len()..]].concat());
        let mut gprs = Gprs::default();
        gprs.0[7] = CHIP;
        run(&cpu, &mut gprs, &ram, &mut chips)
    };
    for code in [
        &[0x0f, 0x10, 0x07][..],   // movups xmm0, [rdi]
        &[0xc5, 0xf8, 0x10, 0x07], // vmovups xmm0, [rdi]
        &[0xf2, 0x0f, 0x10, 0x07], // movsd xmm0, [rdi]: not the string instruction
        &[0x8e, 0x07],             // mov es, [rdi]
        &[0xdd, 0x07],             // fld qword [rdi]
        &[0xf0, 0x8b, 0x07],       // lock mov: no instruction
        &[0x89, 0xc0],             // mov eax, eax: nothing in memory
        &[0x0f, 0x0b],             // ud2
    ] {
        let bytes = [code, &[0x90; 15][code.len()..]].concat();
        assert_eq!(
            nops(code),
            Err(Error::Unsupported(Code::new(&bytes))),
            "{code:02x?}"
        );
    }
}

#[test]
fn an_instruction_longer_than_fifteen_bytes_is_no_instruction() {
    let prefixes = [0x2e; 15];
    let (ram, mut chips, cpu) = guest(&[&prefixes[..], &[0x8b, 0x07]].concat());
    let got = run(&cpu, &mut Gprs::default(), &ram, &mut chips);
    assert_eq!(got, Err(Error::Unsupported(Code::new(&prefixes))));
}

#[test]
fn operands_in_ram_alone_are_left_to_the_processor() {
    refused(&[0xf0, 0x83, 0x07, 0x01], &[(7, RAM)], Error::Retry); // lock add dword [rdi], 1
    refused(
        &[0xf3, 0xa4],
        &[(1, 4), (6, RAM), (7, RAM + 8)],
        Error::Retry,
    ); // rep movsb
    refused(&[0xff, 0x37], &[(7, RAM)], Error::Retry); // push qword [rdi]
    refused(&[0x8f, 0x07], &[(7, RAM)], Error::Retry); // pop qword [rdi]
}

#[test]
fn addresses_that_are_not_canonical_are_refused() {
    let gp = injected(vector::GP, Some(0), None);
    let ss = injected(vector::SS, Some(0), None);
    refused(&[0x8b, 0x07], &[(7, 0x8000_0000_0000)], gp);
    refused(&[0x8b, 0x07], &[(7, 0x7fff_ffff_fffe)], gp); // its last bytes
    refused(&[0x8b, 0x45, 0x00], &[(5, 0xffff_7fff_ffff_ffff)], ss); // [rbp]
    refused(&[0x64, 0x8b, 0x07], &[(7, 0x8000_0000_0000)], gp); // fs:[rdi]
}

#[test]
fn in_64_bit_mode_an_ignored_override_does_not_choose_the_fault() {
    let gp = injected(vector::GP, Some(0), None);
    let ss = injected(vector::SS, Some(0), None);
    const NOWHERE: u64 = 0x8000_0000_0000;
    for prefix in [0x26, 0x2e, 0x36, 0x3e] {
        refused(&[prefix, 0x8b, 0x07], &[(7, NOWHERE)], gp);
        refused(&[prefix, 0x8b, 0x45, 0x00], &[(5, NOWHERE)], ss);
        refused(&[prefix, 0xac], &[(6, NOWHERE)], gp); // lodsb
    }
    // Those of FS and GS are not ignored.
    refused(&[0x65, 0x8b, 0x45, 0x00], &[(5, NOWHERE)], gp);
}

#[test]
fn a_fault_of_either_page_comes_before_any_access() {
    let next = CHIP + 0x1000;
    let read = injected(vector::PF, Some(0), Some(next));
    let write = injected(vector::PF, Some(2), Some(next));
    refused(&[0x8b, 0x07], &[(7, next - 2)], read);
    refused(&[0x89, 0x07], &[(7, next - 2)], write);
    refused(&[0x01, 0x07], &[(7, next - 1)], write); // add: read and write
    refused(&[0xa5], &[(6, CHIP), (7, next)], write); // movsd
    refused(&[0xff, 0x37], &[(7, next)], read); // push
}

#[test]
fn a_push_that_faults_reads_no_chip() {
    let (ram, mut chips, mut cpu) = guest(&[0xff, 0x37]);
    cpu.rsp = RAM;
    let mut gprs = Gprs::default();
    gprs.0[7] = CHIP;
    let fault = injected(vector::PF, Some(2), Some(RAM - 8));
    assert_eq!(run(&cpu, &mut gprs, &ram, &mut chips), Err(fault));
    assert_eq!(chips.seen, []);
}

#[test]
fn segments_are_checked_outside_64_bit_mode() {
    let ram = Ram::default();
    ram.pages.borrow_mut().add(0, 1);
    let try_with = |cpu: &CpuState, code: &[u8], rdi: u64| {
        ram.set(0, code);
        let mut gprs = Gprs::default();
        (gprs.0[7], gprs.0[5]) = (rdi, rdi);
        let mut chips = Chips::default();
        chips.pages.add(CHIP, 1);
        run(cpu, &mut gprs, &ram, &mut chips).map(|done| done.length)
    };
    let gp = Err(injected(vector::GP, Some(0), None));
    let ss = Err(injected(vector::SS, Some(0), None));
    let (load, store) = (&[0x8b, 0x07][..], &[0x89, 0x07][..]);
    let mut cpu = protected();
    assert_eq!(try_with(&cpu, load, CHIP), Ok(2));
    assert_eq!(
        try_with(&cpu, &[0x8b, 0x07], 0x1_fee0_0000),
        Ok(2),
        "the address has 32 bits"
    );

    cpu.segments[3].limit = 0xfee0_0002;
    assert_eq!(try_with(&cpu, load, CHIP), gp);
    cpu.segments[3].limit = 0xfee0_0003;
    assert_eq!(try_with(&cpu, load, CHIP), Ok(2));
    // Expanding down: valid above the limit.
    cpu.segments[3].rights |= 4;
    assert_eq!(try_with(&cpu, load, CHIP), gp);
    cpu.segments[3].limit = CHIP as u32 - 1;
    assert_eq!(try_with(&cpu, load, CHIP), Ok(2));
    // Read-only data; code that can be read; code that cannot; unusable.
    let mut cpu = protected();
    for (rights, reads, writes) in [
        (0x91, Ok(2), gp),
        (0x9b, Ok(2), gp),
        (0x99, gp, gp),
        (0x93 | Segment::UNUSABLE, gp, gp),
    ] {
        cpu.segments[3].rights = rights | Segment::DEFAULT_32;
        assert_eq!(try_with(&cpu, load, CHIP), reads, "{rights:#x}");
        assert_eq!(try_with(&cpu, store, CHIP), writes, "{rights:#x}");
    }
    // A base; it wraps at 4 GiB.
    let mut cpu = protected();
    cpu.segments[3].base = 0xf000_0000;
    assert_eq!(
        try_with(&cpu, load, (CHIP - 0xf000_0000) & 0xffff_ffff),
        Ok(2)
    );
    // The stack segment has its own fault.
    let mut cpu = protected();
    cpu.segments[CpuState::SS].limit = 0xffff;
    assert_eq!(try_with(&cpu, &[0x8b, 0x45, 0x00], CHIP), ss);
    // The limit of the code.
    let mut cpu = protected();
    cpu.segments[CpuState::CS].limit = 0;
    assert_eq!(try_with(&cpu, load, CHIP), gp);
    // Real-address mode has no error codes.
    let cpu = real();
    let plain = Err(injected(vector::GP, None, None));
    assert_eq!(try_with(&cpu, &[0x67, 0x8b, 0x07], CHIP), plain);
    let mut unreal = cpu;
    unreal.segments[3].limit = 0xffff_ffff;
    assert_eq!(try_with(&unreal, &[0x67, 0x8b, 0x07], CHIP), Ok(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever the guest executes, in whatever state: an answer, and unchanged registers for an error.
    #[test]
    fn no_bytes_in_any_state_panic(
        bytes in any::<[u8; 15]>(),
        prefix in prop::sample::select(std::vec![0x90u8, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x0f, 0x64, 0x8b, 0xa5]),
        mode in 0..4u8,
        gprs in any::<[u64; 16]>(),
        near in any::<[bool; 16]>(),
        (cut, rsp, rflags, base) in (0..16usize, any::<u64>(), any::<u64>(), any::<u64>()),
        (limit, rights) in any::<(u32, u32)>(),
    ) {
        let (ram, mut chips, mut cpu) = guest(&[&[prefix], &bytes[cut.min(14)..]].concat());
        match mode {
            0 => {}
            1 => cpu.segments[CpuState::CS].rights &= !Segment::LONG,
            2 => cpu = CpuState { rip: cpu.rip, ..protected() },
            _ => cpu = CpuState { rip: cpu.rip & 0xfff, ..real() },
        }
        if mode == 3 {
            cpu.segments[CpuState::CS].base = CODE;
        }
        cpu.segments[3] = Segment { selector: 1, base, limit, rights };
        cpu.segments[4].base = base;
        (cpu.rsp, cpu.rflags) = (rsp, rflags & !0x2_0000);
        let mut registers = Gprs(gprs);
        for (register, near) in registers.0.iter_mut().zip(near) {
            if near {
                *register = CHIP + (*register & 0xfff);
            }
        }
        let before = registers;
        match run(&cpu, &mut registers, &ram, &mut chips) {
            Ok(done) => prop_assert!(done.length <= 15),
            Err(_) => prop_assert_eq!(registers, before),
        }
    }
}

/// Found by `attack_instructions`: the processor checks the operand at which it gives up, not the other one.
#[test]
fn unaligned_operands_of_ring_3_are_checked_where_the_guest_wants_it() {
    let both = |cpl_3: bool, am: bool, ac: bool, to: u64| {
        let ram = Ram::default();
        let root = ram.table();
        ram.pages.borrow_mut().add(CODE, 1);
        ram.pages.borrow_mut().add(RAM, 1);
        for page in [CODE, RAM, CHIP] {
            ram.map(root, 4, page, page, rw() | Pte::USER);
        }
        let mut cpu = long(root);
        if cpl_3 {
            cpu = super::fake::user(cpu);
        }
        cpu.cr0 |= u64::from(am) << 18;
        cpu.rflags |= u64::from(ac) << 18;
        cpu.rip = CODE;
        // MOVSD
        ram.set(CODE, &[0xa5]);
        let mut chips = Chips::default();
        chips.pages.add(CHIP, 1);
        let mut gprs = Gprs::default();
        gprs.0[6] = CHIP;
        gprs.0[7] = to;
        run(&cpu, &mut gprs, &ram, &mut chips).err()
    };
    let checked = Some(injected(vector::AC, Some(0), None));
    assert_eq!(both(true, true, true, RAM + 2), checked);
    assert_eq!(both(true, true, true, RAM + 4), None);
    assert_eq!(both(false, true, true, RAM + 2), None);
    assert_eq!(both(true, false, true, RAM + 2), None);
    assert_eq!(both(true, true, false, RAM + 2), None);
}
