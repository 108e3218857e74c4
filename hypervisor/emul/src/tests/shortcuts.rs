//! What saves decoding or a walk changes nothing else.

use super::fake::{Chips, Ram, long, protected, real};
use crate::{Cache, Error, Fault, Intent, Translation, execute};
use proptest::prelude::*;
use spec::cpu::{Gpr, Gprs, vector};
use spec::pte::Pte;
use spec::state::CpuState;
use spec::{Gpa, Gva};
use std::vec;
use std::vec::Vec;

const CHIP: u64 = 0xfee0_0000;
/// Two pages of code; below 64 KiB, so that all modes reach them.
const CODE: u64 = 0x8000;
const NEXT: u64 = CODE + 0x1000;

/// Code, and tables that are at 0x1000 and after it.
fn guest() -> (Ram, CpuState) {
    let ram = Ram::default();
    let root = ram.table();
    let flags = Pte::PRESENT | Pte::WRITE | Pte::USER;
    for linear in [CODE, NEXT, CHIP, CHIP + 0x1000] {
        ram.map(root, 4, linear, linear, flags);
    }
    ram.pages.borrow_mut().add(CODE, 2);
    (ram, long(root))
}

fn unmap(ram: &Ram, cpu: &CpuState, linear: u64) {
    ram.map(cpu.cr3, 4, linear, 0, Pte::empty());
}

/// Bytes that share beginnings, end in zeroes, or mean other things in other modes.
const CODES: [&[u8]; 10] = [
    &[0x8b, 0x07],
    &[0x8b, 0x47, 0],
    &[0x8b, 0x87, 0, 0, 0, 0],
    &[0xc7, 0x07, 0, 0, 0, 0],
    &[0xc7, 0x07, 0, 0, 0, 1],
    &[0x48, 0x8b, 0x07],
    &[0xa1, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0x66, 0x67, 0xc7, 0x84, 0, 0, 0, 0, 0],
    &[0x0f, 0x0b],
    &[0x66; 16],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_kept_instruction_is_what_decoding_would_give(
        steps in prop::collection::vec((0usize..CODES.len(), 0u64..4, 0u8..4, any::<bool>()), 1..60),
    ) {
        let mut cache = Cache::default();
        for (code, before_end, mode, has_next) in steps {
            let (ram, mut cpu) = guest();
            if !has_next {
                unmap(&ram, &cpu, NEXT);
            }
            match mode {
                0 | 1 => {}
                2 => cpu = protected(),
                _ => cpu = real(),
            }
            cpu.rip = NEXT - before_end;
            ram.set(cpu.rip, CODES[code]);
            let want = Cache::default().fetch(&cpu, &ram);
            prop_assert_eq!(cache.fetch(&cpu, &ram), want, "{:?}", cpu.rip);
        }
    }
}

#[test]
fn bytes_after_the_last_are_not_the_instructions() {
    let (ram, mut cpu) = guest();
    let mut cache = Cache::default();
    cpu.rip = NEXT - 2;
    ram.set(cpu.rip, &[0xc7, 0x07, 0, 0, 0, 0]); // mov dword [rdi], 0
    assert_eq!(cache.fetch(&cpu, &ram).map(|op| op.length), Ok(6));
    unmap(&ram, &cpu, NEXT);
    let fault = Fault {
        vector: vector::PF,
        error_code: Some(0x10),
        cr2: Some(NEXT),
    };
    assert_eq!(cache.fetch(&cpu, &ram), Err(Error::Inject(fault)));
}

/// What `code` with RDI at `address` does when the processor has made a translation of `known` for `intent`, to the
/// second page of the chip: the addresses accessed. The page of the chip itself is not mapped.
fn accessed(code: &[u8], address: u64, known: u64, intent: Intent) -> Result<Vec<u64>, Error> {
    let (ram, mut cpu) = guest();
    unmap(&ram, &cpu, CHIP);
    cpu.rip = CODE;
    ram.set(CODE, code);
    let operation = Cache::default().fetch(&cpu, &ram).unwrap();
    let mut gprs = Gprs::default();
    gprs.set(Gpr::Rdi, address);
    let mut chips = Chips::default();
    let known = Translation {
        linear: Gva(known),
        gpa: Gpa(CHIP + 0x1000 + known % 0x1000),
        intent,
    };
    execute(&operation, &cpu, &mut gprs, &ram, &mut chips, Some(&known))?;
    Ok(chips.seen.iter().map(|seen| seen.0).collect())
}

#[test]
fn a_translation_holds_for_its_address_and_its_access() {
    const LOAD: &[u8] = &[0x8b, 0x07];
    const STORE: &[u8] = &[0x89, 0x07];
    const OR: &[u8] = &[0x09, 0x07];
    let at = CHIP + 0x20;
    let there = at + 0x1000;
    let fault = |cr2, error_code| {
        Err(Error::Inject(Fault {
            vector: vector::PF,
            error_code: Some(error_code),
            cr2: Some(cr2),
        }))
    };
    assert_eq!(accessed(LOAD, at, at, Intent::Read), Ok(vec![there]));
    assert_eq!(accessed(LOAD, at, at, Intent::Write), Ok(vec![there]));
    assert_eq!(accessed(STORE, at, at, Intent::Write), Ok(vec![there]));
    assert_eq!(accessed(OR, at, at, Intent::Write), Ok(vec![there, there]));
    assert_eq!(accessed(STORE, at, at, Intent::Read), fault(at, 2));
    assert_eq!(accessed(OR, at, at, Intent::Read), fault(at, 2));
    assert_eq!(accessed(LOAD, at, at + 1, Intent::Read), fault(at, 0));
    // An operand in two pages is in two places.
    let end = CHIP + 0xffe;
    assert_eq!(accessed(LOAD, end, end, Intent::Read), fault(end, 0));
    let second = CHIP + 0x1000;
    assert_eq!(accessed(LOAD, end, second, Intent::Read), fault(end, 0));
    // Elsewhere a walk finds the way.
    assert_eq!(accessed(LOAD, second, at, Intent::Read), Ok(vec![second]));
}
