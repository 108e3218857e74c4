//! The same instruction, in the same state, on the processor and in the emulator.

use super::fake::{Chips, Ram, long};
use super::instruction::{COMPARED, State, choice, string};
use super::native::{self, DATA, DATA_LEN, INSTRUCTION, STACK, STACK_LEN};
use super::run;
use crate::Done;
use proptest::prelude::*;
use spec::cpu::{Gprs, Segment};
use spec::pte::Pte;
use spec::state::CpuState;

const PAGE: u64 = 4096;

/// A guest whose linear addresses are those of this process; the data is emulated memory, at other
/// guest-physical addresses, whose order is not that of the linear ones.
struct Guest {
    ram: Ram,
    chips: Chips,
    cpu: CpuState,
}

/// Guest-physical address of each page of data.
fn data_gpa(page: u64) -> u64 {
    0xfee0_0000 + (page ^ 1) * PAGE
}

fn guest(bytes: &[u8], is_32: bool, state: &State) -> Guest {
    let ram = Ram::default();
    let root = ram.table();
    let flags = Pte::PRESENT | Pte::WRITE;
    let mut chips = Chips::default();
    for page in 0..(DATA_LEN as u64 / PAGE) {
        let gpa = data_gpa(page);
        ram.map(root, 4, DATA + page * PAGE, gpa, flags);
        chips.pages.add(gpa, 1);
        let at = (page * PAGE) as usize;
        chips.pages.set(gpa, &state.data[at..at + PAGE as usize]);
    }
    ram.pages.borrow_mut().add(STACK, 1);
    ram.map(root, 4, STACK, STACK, flags);
    ram.set(STACK, &state.stack);
    let code = INSTRUCTION & !(PAGE - 1);
    ram.pages.borrow_mut().add(code, 1);
    ram.map(root, 4, code, code, flags);
    ram.set(INSTRUCTION, bytes);
    let mut cpu = long(root);
    cpu.rip = INSTRUCTION;
    cpu.rflags = state.rflags;
    cpu.rsp = state.gprs[4];
    if is_32 {
        cpu.segments[CpuState::CS].rights = 0x9b | Segment::DEFAULT_32;
    }
    Guest { ram, chips, cpu }
}

/// Runs the instruction to its end in the emulator, in steps as a VM would.
fn emulate(bytes: &[u8], is_32: bool, state: &State) -> (State, u8) {
    const STALE: u64 = 0x5bad_5bad_5bad_5bad;
    let mut guest = guest(bytes, is_32, state);
    let mut gprs = Gprs(state.gprs);
    gprs.0[4] = STALE;
    let length = loop {
        let Done {
            length,
            rflags,
            rsp,
        } = run(&guest.cpu, &mut gprs, &guest.ram, &mut guest.chips)
            .unwrap_or_else(|e| panic!("{bytes:02x?}: {e:?}"));
        guest.cpu.rflags = rflags;
        guest.cpu.rsp = rsp.unwrap_or(guest.cpu.rsp);
        if length != 0 {
            break length;
        }
    };
    assert_eq!(gprs.0[4], STALE, "RSP's slot is not ours");
    gprs.0[4] = guest.cpu.rsp;
    let pages = 0..(DATA_LEN as u64 / PAGE);
    let data = pages.flat_map(|page| {
        guest
            .chips
            .pages
            .get(data_gpa(page), PAGE as usize)
            .unwrap()
    });
    let after = State {
        gprs: gprs.0,
        rflags: guest.cpu.rflags,
        data: data.collect(),
        stack: guest.ram.get(STACK, STACK_LEN),
    };
    (after, length)
}

fn compare(bytes: &[u8], is_32: bool, state: &State, undefined: u64) -> Result<(), TestCaseError> {
    let want = native::run(bytes, is_32, state);
    let (got, length) = emulate(bytes, is_32, state);
    prop_assert_eq!(usize::from(length), bytes.len());
    let (count, mask) = if is_32 {
        (8, 0xffff_ffff)
    } else {
        (16, u64::MAX)
    };
    for n in 0..count {
        let (want, got) = (want.gprs[n] & mask, got.gprs[n] & mask);
        prop_assert_eq!(
            want,
            got,
            "register {}: {:#x}, not {:#x}; {:02x?}",
            n,
            got,
            want,
            bytes
        );
    }
    let flags = COMPARED & !undefined;
    prop_assert_eq!(
        want.rflags & flags,
        got.rflags & flags,
        "flags of {:02x?}",
        bytes
    );
    for (n, (want, got)) in want.data.iter().zip(&got.data).enumerate() {
        prop_assert_eq!(want, got, "data at {:#x} of {:02x?}", n, bytes);
    }
    prop_assert!(want.stack == got.stack, "stack of {:02x?}", bytes);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    #[test]
    fn instructions_do_as_on_the_processor(choice in choice()) {
        let Some((bytes, state)) = choice.build() else {
            return Ok(());
        };
        compare(&bytes, choice.is_32, &state, choice.row.undefined)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn string_instructions_do_as_on_the_processor((bytes, is_32, state) in string()) {
        compare(&bytes, is_32, &state, 0)?;
    }

    #[test]
    fn moves_by_absolute_address_do_as_on_the_processor(
        opcode in 0xa0..0xa4u8,
        [is_32, short, size_16, wide] in any::<[bool; 4]>(),
        target in 0x1000..0x2ff0u64,
        seed in any::<u64>(),
    ) {
        let mut bytes = std::vec::Vec::new();
        if size_16 {
            bytes.push(0x66);
        }
        if short && !is_32 {
            bytes.push(0x67);
        }
        if wide && !is_32 {
            bytes.push(0x48);
        }
        bytes.push(opcode);
        let len = if is_32 || short { 4 } else { 8 };
        bytes.extend_from_slice(&(DATA + target).to_le_bytes()[..len]);
        compare(&bytes, is_32, &super::instruction::state(seed), 0)?;
    }
}
