//! Accesses to guest-physical addresses without memory.

use super::fake::{Machine, fault, flat};
use crate::Kind;
use emul::Error;
use exits::{Access, Answer, Event, Exit, Stop};
use spec::cpu::{Cr0, Gpr};
use spec::pte::Pte;
use spec::{Msr, Ticks, Width, msr};

const UD: Answer = Answer::Inject(Event::UD);
const APIC: u32 = 0xfee0_0000;

/// `MOVAPS XMM0, [0xfee00000]`: vector registers are not emulated.
const VECTOR: [u8; 7] = [0x0f, 0x28, 0x05, 0x00, 0x00, 0xe0, 0xfe];

#[test]
fn the_apics_page_answers_in_xapic_mode_alone() {
    let mut m = Machine::new(2);
    assert_eq!(m.load(1, APIC + 0x20), 1 << 24, "the id");
    assert_eq!(m.load(0, APIC + 0x30) & 0xff, 0x14, "the version");
    assert!(matches!(
        m.store(0, APIC + 0x80, 0x30),
        Answer::Emulated { length: 6, .. }
    ));
    assert_eq!(m.vcpus[0].lapic.cr8(), 3);
    assert_eq!(m.vcpus[1].lapic.cr8(), 0, "each has its own");

    let mut m = Machine::x2apic(1);
    assert_eq!(m.load(0, APIC + 0x30), 0xffff_ffff);
    let _ = m.store(0, APIC + 0x80, 0x30);
    assert_eq!(m.vcpus[0].lapic.cr8(), 0);
    let _ = m.wrmsr(0, msr::APIC_BASE, 0xfee0_0100);
    assert_eq!(m.load(0, APIC + 0x30), 0xffff_ffff, "disabled");
}

#[test]
fn the_io_apic_answers_and_beside_it_nothing() {
    let mut m = Machine::new(1);
    let _ = m.store(0, 0xfec0_0000, 1);
    assert_eq!(m.load(0, 0xfec0_0010), 0x0017_0020, "24 pins, version 0x20");
    for nothing in [0xfec0_0020, 0xfec0_1000, 0xc000_0000, 0x000a_0000, !0x3] {
        assert_eq!(m.load(0, nothing), 0xffff_ffff, "{nothing:#x}");
        assert!(matches!(
            m.store(0, nothing, 0),
            Answer::Emulated { length: 6, .. }
        ));
    }
}

/// One configuration space, by memory and by ports; a byte at its address port, where a PC has a reset register, is nobody's.
#[test]
fn configuration_space_is_one_by_either_way() {
    const ECAM: u32 = 0xe000_0000;
    let mut m = Machine::new(1);
    let bridge = m.load(0, ECAM);
    assert_ne!(bridge, 0xffff_ffff);
    for (function, expected) in [(0, bridge), (0x800, 0xffff_ffff)] {
        let _ = m.port_out(0xcf8, Width::B4, 0x8000_0000 | function);
        assert_eq!(m.port_in(0xcfc, Width::B4), expected);
        assert_eq!(m.load(0, ECAM + (function as u32) * 0x10), expected);
    }
    assert_eq!(m.load(0, ECAM + 0x10_0000), 0xffff_ffff, "another bus");
    assert_eq!(m.port_out(0xcf9, Width::B1, 0x06), Answer::Advance);
    assert_eq!(m.port_in(0xcf9, Width::B1), u64::MAX);
    assert_eq!(m.port_in(0xcf7, Width::B2), u64::MAX);
}

/// A fetch from where nothing is finds FF FF; it never ends the VM.
#[test]
fn a_fetch_from_nothing_is_no_instruction() {
    let mut m = Machine::new(1);
    for cpl in [0, 3] {
        let exit = fault(&flat(cpl), 0xd000_0000, Access::Fetch);
        assert_eq!(m.step(exit), UD);
    }
}

#[test]
fn what_is_not_emulated_is_reported_with_its_bytes_or_is_user_modes_own_fault() {
    let mut m = Machine::new(1);
    let gpa = APIC.into();
    m.gprs.set(Gpr::Rdx, 77);
    let before = m.gprs;
    assert_eq!(m.access(0, &flat(3), &VECTOR, gpa, Access::Read), UD);
    assert_eq!(m.vcpus[0].unemulated, None);

    let answer = m.access(0, &flat(0), &VECTOR, gpa, Access::Read);
    assert!(matches!(answer, Answer::Stop(Stop::Unsupported(_))));
    let Some(Error::Unsupported(code)) = m.vcpus[0].unemulated else {
        panic!("{:?}", m.vcpus[0].unemulated);
    };
    assert_eq!(code.bytes()[..7], VECTOR);
    assert_eq!(m.gprs, before);
}

/// Another processor of the guest may take the code away between the exit and our fetch, or the processor may have met it by a
/// translation that the tables have no more.
#[test]
fn code_that_is_gone_is_left_to_the_processor() {
    let mut m = Machine::new(1);
    for cpl in [0, 3] {
        let mut cpu = flat(cpl);
        cpu.rip = 0xd000_0000;
        let answer = m.step(fault(&cpu, APIC.into(), Access::Read));
        assert_eq!(answer, Answer::RetryAfresh);
    }
}

/// The fault: an instruction that we took for one that cannot have made an access was tried again without end.
#[test]
fn code_that_stays_what_it_is_is_not_tried_again_without_end() {
    let mut m = Machine::new(1);
    let tried = |m: &mut Machine, exit_between: bool| {
        let answer = m.access(0, &flat(3), &[0x90, 0xc3], APIC.into(), Access::Read);
        let flight = &mut m.vcpus[0].flight;
        flight.record(Ticks(0), Kind::GpaFault, &Exit::Hlt, 0);
        if answer == Answer::RetryAfresh {
            let _ = flight.repeats(Kind::GpaFault);
        }
        if exit_between {
            flight.record(Ticks(0), Kind::Cpuid, &Exit::Cpuid, 0);
        }
        answer == Answer::RetryAfresh
    };
    // Another processor may be at it.
    assert!((0..5000).all(|_| tried(&mut m, true)));
    let again = (0..5000).take_while(|_| tried(&mut m, false)).count();
    assert!((64..5000).contains(&again), "{again}");
}

#[test]
fn code_that_was_changed_meanwhile_is_left_to_the_processor() {
    let changed: [&[u8]; 9] = [
        &[0x90, 0xc3],
        &[0xb8, 0x78, 0x56, 0x34, 0x12],
        &[0x50],
        &[0xe8, 0, 0, 0, 0],
        &[0xc3],
        &[0x0f, 0x0b],
        &[0xff, 0xff],
        // MOVUPS XMM0, [ESP], LGDT [0x2000]
        &[0x0f, 0x10, 0x04, 0x24],
        &[0x0f, 0x01, 0x15, 0x00, 0x20, 0x00, 0x00],
    ];
    let mut m = Machine::new(1);
    for code in changed {
        for cpl in [0, 3] {
            let answer = m.access(0, &flat(cpl), code, APIC.into(), Access::Read);
            assert_eq!(answer, Answer::RetryAfresh, "{code:x?}");
        }
    }
    let mut near = flat(0);
    near.rsp = u64::from(APIC) + 8;
    let answer = m.access(0, &near, &[0xc3], APIC.into(), Access::Read);
    assert!(matches!(answer, Answer::Stop(Stop::Unsupported(_))));
}

#[test]
fn page_faults_found_by_the_emulator_reach_the_guest_with_their_address() {
    let mut m = Machine::new(1);
    let mut cpu = flat(3);
    cpu.cr0 |= Cr0::PG.bits();
    cpu.cr3 = 0x4000;
    // 32-bit paging: the code is mapped, what its operand names is not any more.
    let table = (0x5000 | (Pte::PRESENT | Pte::USER).bits()) as u32;
    let page = (0x1000 | (Pte::PRESENT | Pte::USER).bits()) as u32;
    m.vm.memory.set_u64(0x4000, table.into());
    m.vm.memory.set_u64(0x5000, u64::from(page) << 32);
    let code = [0x8b, 0x05, 0x00, 0x00, 0xe0, 0xfe];
    let elsewhere = 0xfec0_0000;
    assert_eq!(
        m.access(0, &cpu, &code, elsewhere, Access::Read),
        Answer::Inject(Event::PageFault {
            address: APIC.into(),
            error_code: 4,
        })
    );
}

#[test]
fn an_access_of_the_processors_own_ends_the_vm() {
    let mut m = Machine::new(1);
    let Exit::GpaFault(mut f) = fault(&flat(0), 0xd000_0000, Access::Read) else {
        unreachable!()
    };
    f.linear = None;
    assert!(matches!(
        m.step(Exit::GpaFault(f)),
        Answer::Stop(Stop::Unsupported(_))
    ));
}

/// An operand that is memory by now: the processor does it itself.
#[test]
fn memory_is_left_to_the_processor() {
    let mut m = Machine::new(1);
    let code = [0x8b, 0x05, 0x00, 0x20, 0x00, 0x00];
    assert_eq!(
        m.access(0, &flat(0), &code, 0x2000, Access::Read),
        Answer::RetryAfresh
    );
}

#[test]
fn a_change_of_the_logical_address_is_told_to_the_others() {
    let mut m = Machine::new(2);
    for i in 0..2 {
        let _ = m.store(i, APIC + 0xf0, 0x1ff);
        let _ = m.store(i, APIC + 0xd0, 0x1000_0000 << i);
    }
    // Fixed, logical, to the second
    let _ = m.store(0, APIC + 0x310, 0x2000_0000);
    let _ = m.store(0, APIC + 0x300, 0x0841);
    assert_eq!(m.wants(0).interrupt, None);
    assert_eq!(m.wants(1).interrupt, Some(spec::Vector(0x41)));
    assert_eq!(m.rdmsr(1, Msr(0x802)), None);
}
