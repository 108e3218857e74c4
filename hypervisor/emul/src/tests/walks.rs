//! Page walks, against the manual's sections.

use super::fake::{Ram, long, protected, user};
use crate::{Intent, WalkError, walk};
use proptest::prelude::*;
use seam::GuestMem;
use spec::cpu::{Cr0, Cr4, Efer, Rflags};
use spec::pte::{PageFaultCode as Code, Pte};
use spec::state::CpuState;
use spec::{Gpa, Gva};

const LINEAR: u64 = 0x7f12_3456_7abc;
const P: Pte = Pte::PRESENT;

fn all() -> Pte {
    Pte::PRESENT | Pte::WRITE | Pte::USER
}

/// 64-bit mode with one page mapped at [`LINEAR`].
fn mapped(flags: Pte) -> (Ram, CpuState) {
    let ram = Ram::default();
    let root = ram.table();
    ram.map(root, 4, LINEAR, 0xabcd_e000, flags);
    let cpu = long(root);
    (ram, cpu)
}

fn fault(code: Code) -> Result<Gpa, WalkError> {
    Err(WalkError::Fault {
        code,
        address: Gva(LINEAR),
    })
}

#[test]
fn without_paging_linear_is_physical() {
    let cpu = protected();
    assert_eq!(
        walk(&Ram::default(), &cpu, Gva(0x1234), Intent::Write),
        Ok(Gpa(0x1234))
    );
}

#[test]
fn four_levels_lead_to_the_page() {
    let (ram, cpu) = mapped(all());
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        Ok(Gpa(0xabcd_eabc))
    );
    let there = Gva(LINEAR + 0x1000);
    assert_eq!(
        walk(&ram, &cpu, there, Intent::Read),
        Err(WalkError::Fault {
            code: Code::empty(),
            address: there
        })
    );
}

#[test]
fn five_levels_lead_to_the_page() {
    let ram = Ram::default();
    let root = ram.table();
    let linear = 0x00ab_7f12_3456_7abc;
    ram.map(root, 5, linear, 0x5000, all());
    let mut cpu = long(root);
    cpu.cr4 |= Cr4::LA57.bits();
    assert_eq!(
        walk(&ram, &cpu, Gva(linear), Intent::Fetch),
        Ok(Gpa(0x5abc))
    );
}

#[test]
fn large_pages_lead_to_their_frame() {
    let ram = Ram::default();
    let root = ram.table();
    ram.map(root, 4, LINEAR, 0, all());
    let pointers = ram.entry(root + ((LINEAR >> 39) & 511) * 8) & Pte::FRAME.bits();
    let at = pointers + ((LINEAR >> 30) & 511) * 8;
    let directory = ram.entry(at) & Pte::FRAME.bits();
    let below = directory + ((LINEAR >> 21) & 511) * 8;
    let cpu = long(root);
    let pat = 1 << 12;

    ram.set_entry(below, 0x4_0020_0000 | pat | (all() | Pte::PAGE).bits());
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        Ok(Gpa(0x4_0036_7abc))
    );
    ram.set_entry(below, 0x4_0020_0000 | 1 << 13 | (all() | Pte::PAGE).bits());
    let reserved = fault(Code::PROTECTION | Code::RESERVED);
    assert_eq!(walk(&ram, &cpu, Gva(LINEAR), Intent::Read), reserved);

    ram.set_entry(at, 0x4_4000_0000 | pat | (all() | Pte::PAGE).bits());
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        Ok(Gpa(0x4_7456_7abc))
    );
    ram.set_entry(at, 0x4_4000_0000 | 1 << 29 | (all() | Pte::PAGE).bits());
    assert_eq!(walk(&ram, &cpu, Gva(LINEAR), Intent::Read), reserved);
}

#[test]
fn pae_and_32_bit_tables_lead_to_the_page() {
    let ram = Ram::default();
    ram.pages.borrow_mut().add(0, 8);
    let mut cpu = protected();
    cpu.cr0 |= Cr0::PG.bits();
    let linear = Gva(0xc123_4567);

    // PAE: four pointers anywhere on 32 bytes; no rights in them; 2 MiB pages.
    cpu.cr4 = Cr4::PAE.bits();
    cpu.cr3 = 0x1040;
    ram.set_entry(0x1040 + 3 * 8, 0x2000 | P.bits());
    ram.set_entry(0x2000 + 9 * 8, 0x3000 | all().bits());
    ram.set_entry(0x3000 + 0x34 * 8, 0x8_0000_6000 | all().bits());
    assert_eq!(
        walk(&ram, &user(cpu), linear, Intent::Write),
        Ok(Gpa(0x8_0000_6567))
    );
    assert_eq!(
        ram.entry(0x1058),
        0x2000 | P.bits(),
        "no accessed flag in the pointers"
    );
    ram.set_entry(0x2000 + 9 * 8, 0x8_0020_0000 | (all() | Pte::PAGE).bits());
    assert_eq!(
        walk(&ram, &user(cpu), linear, Intent::Write),
        Ok(Gpa(0x8_0023_4567))
    );
    ram.set_entry(0x1040 + 3 * 8, 0x2000 | (P | Pte::WRITE).bits());
    let reserved = Code::PROTECTION | Code::RESERVED;
    let fault = Err(WalkError::Fault {
        code: reserved,
        address: linear,
    });
    assert_eq!(walk(&ram, &cpu, linear, Intent::Read), fault);

    // 32-bit: both halves of a word hold entries, and the neighbour keeps its own.
    cpu.cr4 = 0;
    cpu.cr3 = 0x4fff;
    let directory = 0x4000 + 0x304 * 4;
    ram.set(directory, &(0x5000 | all().bits() as u32).to_le_bytes());
    ram.set(
        0x5000 + 0x234 * 4,
        &(0x7000 | all().bits() as u32).to_le_bytes(),
    );
    ram.set(0x5000 + 0x235 * 4, &0xdead_beefu32.to_le_bytes());
    assert_eq!(walk(&ram, &cpu, linear, Intent::Write), Ok(Gpa(0x7567)));
    assert_eq!(ram.entry(0x5000 + 0x234 * 4), 0xdead_beef_0000_7067);
    let odd = Gva(linear.0 + 0x1000);
    ram.set(
        0x5000 + 0x235 * 4,
        &(0x8000 | all().bits() as u32).to_le_bytes(),
    );
    assert_eq!(walk(&ram, &cpu, odd, Intent::Read), Ok(Gpa(0x8567)));
    assert_eq!(ram.entry(0x5000 + 0x234 * 4), 0x0000_8027_0000_7067);

    // 4 MiB pages with PSE-36; without CR4.PSE bit 7 says nothing.
    let large = 0x0040_0000 | 0x3 << 13 | (all() | Pte::PAGE).bits() as u32;
    ram.set(directory, &large.to_le_bytes());
    cpu.cr4 = Cr4::PSE.bits();
    assert_eq!(
        walk(&ram, &cpu, linear, Intent::Read),
        Ok(Gpa(0x3_0063_4567))
    );
    ram.set(directory, &(large | 1 << 21).to_le_bytes());
    assert_eq!(walk(&ram, &cpu, linear, Intent::Read), fault);
    ram.set(
        directory,
        &(0x5000 | (all() | Pte::PAGE).bits() as u32).to_le_bytes(),
    );
    cpu.cr4 = 0;
    assert_eq!(walk(&ram, &cpu, linear, Intent::Read), Ok(Gpa(0x7567)));
}

#[test]
fn rights_are_those_of_all_levels_together() {
    let w = Code::PROTECTION | Code::WRITE;
    let (ram, cpu) = mapped(P | Pte::USER);
    assert_eq!(walk(&ram, &cpu, Gva(LINEAR), Intent::Write), fault(w));
    assert_eq!(
        walk(&ram, &user(cpu), Gva(LINEAR), Intent::Write),
        fault(w | Code::USER)
    );
    let mut bold = cpu;
    bold.cr0 &= !Cr0::WP.bits();
    assert!(walk(&ram, &bold, Gva(LINEAR), Intent::Write).is_ok());
    assert_eq!(
        walk(&ram, &user(bold), Gva(LINEAR), Intent::Write),
        fault(w | Code::USER)
    );

    let (ram, cpu) = mapped(P | Pte::WRITE);
    let u = Code::PROTECTION | Code::USER;
    assert_eq!(walk(&ram, &user(cpu), Gva(LINEAR), Intent::Read), fault(u));
    assert!(walk(&ram, &cpu, Gva(LINEAR), Intent::Read).is_ok());

    // A right that the root takes away.
    let (ram, cpu) = mapped(all());
    let at = cpu.cr3 + ((LINEAR >> 39) & 511) * 8;
    ram.set_entry(at, ram.entry(at) & !Pte::WRITE.bits());
    assert_eq!(walk(&ram, &cpu, Gva(LINEAR), Intent::Write), fault(w));
}

#[test]
fn execute_disable_counts_where_it_is_on() {
    let (ram, mut cpu) = mapped(all() | Pte::NO_EXECUTE);
    assert!(walk(&ram, &cpu, Gva(LINEAR), Intent::Read).is_ok());
    let f = Code::PROTECTION | Code::FETCH;
    assert_eq!(walk(&ram, &cpu, Gva(LINEAR), Intent::Fetch), fault(f));
    cpu.efer &= !Efer::NXE.bits();
    let reserved = Code::PROTECTION | Code::RESERVED;
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Fetch),
        fault(reserved)
    );
}

#[test]
fn supervisor_mode_prevention_spares_user_pages() {
    let (ram, mut cpu) = mapped(all());
    cpu.cr4 |= (Cr4::SMAP | Cr4::SMEP).bits();
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        fault(Code::PROTECTION)
    );
    let f = Code::PROTECTION | Code::FETCH;
    assert_eq!(walk(&ram, &cpu, Gva(LINEAR), Intent::Fetch), fault(f));
    assert!(walk(&ram, &user(cpu), Gva(LINEAR), Intent::Read).is_ok());
    cpu.rflags |= Rflags::AC.bits();
    assert!(walk(&ram, &cpu, Gva(LINEAR), Intent::Read).is_ok());
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Fetch),
        fault(f),
        "AC does not lift SMEP"
    );

    let (ram, mut cpu) = mapped(P | Pte::WRITE);
    cpu.cr4 |= (Cr4::SMAP | Cr4::SMEP).bits();
    assert!(walk(&ram, &cpu, Gva(LINEAR), Intent::Fetch).is_ok());
}

#[test]
fn accessed_and_dirty_are_set_from_the_root_on_and_only_if_the_access_is_allowed() {
    let (ram, cpu) = mapped(all());
    assert!(walk(&ram, &user(cpu), Gva(LINEAR), Intent::Read).is_ok());
    let set = |ram: &Ram| -> std::vec::Vec<u64> {
        ram.history
            .borrow()
            .iter()
            .map(|(_, entry)| entry & 0x60)
            .collect()
    };
    assert_eq!(set(&ram), [0x20; 4]);
    assert_eq!(ram.history.borrow()[0].0.0 & !0xfff, cpu.cr3);
    ram.history.borrow_mut().clear();
    assert!(walk(&ram, &cpu, Gva(LINEAR), Intent::Write).is_ok());
    assert_eq!(set(&ram), [0x60], "the dirty flag is all that is missing");
    ram.history.borrow_mut().clear();
    assert!(walk(&ram, &cpu, Gva(LINEAR), Intent::Write).is_ok());
    assert!(ram.history.borrow().is_empty());

    let (ram, cpu) = mapped(P);
    assert!(walk(&ram, &cpu, Gva(LINEAR), Intent::Write).is_err());
    assert!(ram.history.borrow().is_empty());
}

#[test]
fn an_entry_that_changes_under_the_walk_is_read_again() {
    let (ram, cpu) = mapped(all());
    let root = cpu.cr3 + ((LINEAR >> 39) & 511) * 8;
    let mut once = true;
    *ram.meddler.borrow_mut() = Some(std::boxed::Box::new(move |pages| {
        if core::mem::take(&mut once) {
            pages.set(root, &0u64.to_le_bytes());
        }
    }));
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        fault(Code::empty())
    );

    // A guest that never stops changing it does not hold us for ever.
    let (ram, cpu) = mapped(all());
    let root = cpu.cr3 + ((LINEAR >> 39) & 511) * 8;
    let entry = ram.entry(root);
    let mut n = 0;
    *ram.meddler.borrow_mut() = Some(std::boxed::Box::new(move |pages| {
        n += 1;
        pages.set(root, &(entry | (n & 1) << 9).to_le_bytes());
    }));
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        Err(WalkError::Busy)
    );
}

#[test]
fn a_table_outside_memory_is_named() {
    let (ram, mut cpu) = mapped(all());
    let at = cpu.cr3 + ((LINEAR >> 39) & 511) * 8;
    ram.set_entry(at, 0x000f_ffff_ffff_f000 | all().bits());
    let outside = Gpa(0x000f_ffff_ffff_f000 + ((LINEAR >> 30) & 511) * 8);
    assert_eq!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        Err(WalkError::Outside(outside))
    );
    cpu.cr3 = 0x8000_0000;
    assert!(matches!(
        walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
        Err(WalkError::Outside(_))
    ));
}

proptest! {
    #[test]
    fn no_tables_make_a_walk_panic_or_write_more_than_flags(
        entries in prop::collection::vec((0..0x800usize, any::<u64>()), 0..200),
        fill in any::<u64>(),
        linear in any::<u64>(),
        (cr0, cr3, cr4, efer, rflags) in any::<(u64, u64, u64, u64, u64)>(),
        intent in prop_oneof![Just(Intent::Read), Just(Intent::Write), Just(Intent::Fetch)],
        is_user in any::<bool>(),
    ) {
        let ram = Ram::default();
        ram.pages.borrow_mut().add(0, 4);
        // Frames among the four pages, so that walks go deep.
        let near = |entry: u64| entry & !0x000f_ffff_ffff_c000 | 1;
        for at in 0..0x800 {
            ram.set_entry(at * 8, near(fill.rotate_left(at as u32)));
        }
        for (at, entry) in entries {
            ram.set_entry(at as u64 * 8, near(entry));
        }
        let before = ram.pages.borrow().clone();
        let mut cpu = protected();
        cpu.cr0 = cr0 | Cr0::PG.bits();
        cpu.cr3 = cr3 & 0x3fff;
        (cpu.cr4, cpu.efer, cpu.rflags) = (cr4, efer, rflags);
        if is_user {
            cpu = user(cpu);
        }
        let _ = walk(&ram, &cpu, Gva(linear), intent);
        for at in 0..0x800 {
            let old = u64::from_le_bytes(before.get(at * 8, 8).unwrap().try_into().unwrap());
            let new = ram.read_u64(Gpa(at * 8)).unwrap();
            prop_assert_eq!(new & !0x0060_0000_0060, old & !0x0060_0000_0060);
            prop_assert_eq!(new & old, old, "no bit is cleared");
        }
    }
}

/// Found by `attack_instructions`: a write went nowhere that the processor refuses.
#[test]
fn address_bits_beyond_the_physical_width_are_reserved() {
    let refused = fault(Code::PROTECTION | Code::RESERVED);
    for bit in 39..52 {
        let ram = Ram::default();
        let root = ram.table();
        ram.map(root, 4, LINEAR, 1 << bit, all());
        let mut cpu = long(root);
        assert_eq!(
            walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
            Ok(Gpa(1 << bit | 0xabc))
        );
        cpu.physical_bits = bit;
        assert_eq!(walk(&ram, &cpu, Gva(LINEAR), Intent::Read), refused);
        cpu.physical_bits = bit + 1;
        assert_eq!(
            walk(&ram, &cpu, Gva(LINEAR), Intent::Read),
            Ok(Gpa(1 << bit | 0xabc))
        );
    }
    // A 4 MiB page has bits 39:32 of its address in bits 20:13.
    let ram = Ram::default();
    ram.pages.borrow_mut().add(0, 2);
    let mut cpu = protected();
    cpu.cr0 |= Cr0::PG.bits();
    cpu.cr4 = Cr4::PSE.bits();
    cpu.cr3 = 0x1000;
    ram.set_entry(0x1000, 1 << 16 | (all() | Pte::PAGE).bits());
    cpu.physical_bits = 36;
    assert_eq!(
        walk(&ram, &cpu, Gva(0x10), Intent::Read),
        Ok(Gpa(0x8_0000_0010))
    );
    cpu.physical_bits = 35;
    assert_eq!(
        walk(&ram, &cpu, Gva(0x10), Intent::Read),
        Err(WalkError::Fault {
            code: Code::PROTECTION | Code::RESERVED,
            address: Gva(0x10)
        })
    );
}
