//! Writes of CR0, CR4, CR8 and IA32_EFER, and what PAE paging loads with them.

use super::fake::{Machine, RAM};
use exits::{Answer, ControlWrite, Event, Exit, Stop, SystemWrite};
use spec::cpu::{Cr0, Cr4, Efer, Gpr};
use spec::state::ControlState;

const GP: Answer = Answer::Inject(Event::GP0);
const TABLE: u64 = 0x2020;

/// PAE is on, paging is not yet.
fn pae() -> ControlState {
    ControlState {
        cr0: (Cr0::PE | Cr0::ET).bits(),
        // Bits 4:0 are ignored, and so are those above 31.
        cr3: TABLE | 0x18 | 7 << 32,
        cr4: Cr4::PAE.bits(),
        efer: 0,
        cs_long: false,
        bars_ia32e: false,
    }
}

fn paging(old: ControlState) -> Exit {
    Exit::Cr0Write(ControlWrite {
        value: old.cr0 | Cr0::PG.bits(),
        old,
    })
}

fn cr4(old: ControlState, value: u64) -> Exit {
    Exit::Cr4Write(ControlWrite { value, old })
}

#[test]
fn judged_writes_are_passed_on_and_bad_ones_fault() {
    let mut m = Machine::new(1);
    let old = pae();
    let write = |value| Exit::Cr0Write(ControlWrite { value, old });
    let value = old.cr0 | Cr0::TS.bits();
    assert_eq!(
        m.step(write(value - Cr0::ET.bits())),
        Answer::Write(SystemWrite::Cr0(value))
    );
    assert_eq!(m.step(write(Cr0::PG.bits())), GP, "PG without PE");
    assert_eq!(m.step(write(1 << 32 | 1)), GP);
    assert_eq!(m.step(cr4(old, Cr4::VMXE.bits())), GP);
    assert_eq!(m.step(cr4(old, 1 << 63)), GP);

    let efer = |value| Exit::EferWrite(ControlWrite { value, old });
    let good = (Efer::NXE | Efer::LME | Efer::SCE).bits();
    assert_eq!(m.step(efer(good)), Answer::Write(SystemWrite::Efer(good)));
    assert_eq!(m.step(efer(1 << 12)), GP, "SVME");
}

/// SDM vol. 3, "PDPTE Registers": a present entry with a reserved bit is #GP(0), and nothing is loaded.
#[test]
fn paging_with_pae_loads_good_entries_and_refuses_bad_ones() {
    let good = [0x3001, 0x4019, 0, 0x7f_ffff_fe01];
    let mut m = Machine::new(1);
    for (i, entry) in good.into_iter().enumerate() {
        m.vm.memory.set_u64(TABLE + 8 * i as u64, entry);
    }
    let on = Answer::Write(SystemWrite::Cr0(pae().cr0 | Cr0::PG.bits()));
    assert_eq!(m.step(paging(pae())), on);
    assert_eq!(m.vcpus[0].pdptes, good);

    let last = TABLE + 24;
    for bit in (0..64).filter(|b| matches!(b, 1 | 2 | 5..=8 | 39..)) {
        m.vm.memory.set_u64(last, 0x5001 | 1 << bit);
        assert_eq!(m.step(paging(pae())), GP, "bit {bit}");
        assert_eq!(m.vcpus[0].pdptes, good, "nothing is loaded");
        // In an entry that is not present nothing is reserved.
        m.vm.memory.set_u64(last, 0x5000 | 1 << bit);
        assert_eq!(m.step(paging(pae())), on, "bit {bit}");
        m.vm.memory.set_u64(last, good[3]);
        assert_eq!(m.step(paging(pae())), on);
    }
    for bit in (0..39).filter(|b| matches!(b, 3 | 4 | 9..)) {
        m.vm.memory.set_u64(last, 1 | 1 << bit);
        assert_eq!(m.step(paging(pae())), on, "bit {bit} is not reserved");
    }
}

#[test]
fn exactly_the_bits_that_the_manual_names_load_the_entries() {
    let mut m = Machine::new(1);
    m.vm.memory.set_u64(TABLE, 0x3003);
    let on = ControlState {
        cr0: pae().cr0 | Cr0::PG.bits(),
        ..pae()
    };
    for (bits, loads) in [
        (Cr0::CD, true),
        (Cr0::CD | Cr0::NW, true),
        (Cr0::WP, false),
        (Cr0::TS, false),
        (Cr0::AM | Cr0::NE, false),
    ] {
        let write = Exit::Cr0Write(ControlWrite {
            value: on.cr0 | bits.bits(),
            old: on,
        });
        assert_eq!(m.step(write) == GP, loads, "{bits:?}");
    }
    for (bits, loads) in [
        (Cr4::PGE, true),
        (Cr4::PSE, true),
        (Cr4::SMEP, true),
        (Cr4::SMAP, false),
        (Cr4::OSFXSR, false),
        (Cr4::OSXSAVE, false),
    ] {
        assert_eq!(
            m.step(cr4(on, on.cr4 | bits.bits())) == GP,
            loads,
            "{bits:?}"
        );
    }
    // From 32-bit paging to PAE
    let old = ControlState { cr4: 0, ..on };
    assert_eq!(m.step(cr4(old, Cr4::PAE.bits())), GP);
    // Away from paging, without PAE, and in IA-32e mode there are none.
    let off = Exit::Cr0Write(ControlWrite {
        value: pae().cr0,
        old: on,
    });
    assert_ne!(m.step(off), GP);
    assert_ne!(m.step(paging(ControlState { cr4: 0, ..pae() })), GP);
    let efer = Efer::LME.bits();
    assert_ne!(m.step(paging(ControlState { efer, ..pae() })), GP);
    assert_eq!(m.vcpus[0].pdptes, [0; 4]);
}

#[test]
fn a_refused_write_of_cr4_does_not_show_in_cpuid() {
    let mut m = Machine::new(1);
    m.vm.memory.set_u64(TABLE, 0x3003);
    let old = ControlState {
        cr0: pae().cr0 | Cr0::PG.bits(),
        ..pae()
    };
    let value = old.cr4 | (Cr4::PGE | Cr4::OSXSAVE).bits();
    assert_eq!(m.step(cr4(old, value)), GP);
    assert!(!m.vcpus[0].osxsave);
}

#[test]
fn a_table_outside_ram_ends_the_vm() {
    let mut m = Machine::new(1);
    for cr3 in [RAM, RAM - 32, 0xffff_ffe0] {
        let inside = cr3 & !31 < RAM;
        let answer = m.step(paging(ControlState { cr3, ..pae() }));
        let stopped = matches!(answer, Answer::Stop(Stop::Unsupported(_)));
        assert_eq!(stopped, !inside, "{cr3:#x}");
    }
}

#[test]
fn cr8_is_the_task_priority() {
    let mut m = Machine::x2apic(1);
    assert_eq!(m.step(Exit::Cr8Write(0xb)), Answer::Advance);
    assert_eq!(m.rdmsr(0, spec::Msr(0x808)), Some(0xb0));
    m.gprs.set(Gpr::R15, u64::MAX);
    assert_eq!(m.step(Exit::Cr8Read(Gpr::R15)), Answer::Advance);
    assert_eq!(m.gprs.get(Gpr::R15), 0xb);
    // RSP's slot is not the register.
    let before = m.gprs;
    assert_eq!(
        m.step(Exit::Cr8Read(Gpr::Rsp)),
        Answer::Write(SystemWrite::Rsp(0xb))
    );
    assert_eq!(m.gprs, before);
    for reserved in [0x10, 1 << 32, u64::MAX] {
        assert_eq!(m.step(Exit::Cr8Write(reserved)), GP);
        assert_eq!(m.vcpus[0].lapic.cr8(), 0xb);
    }
}
