use crate::fake::MapVmcs;
use crate::fixture::{long, real};
use crate::{Vcpu, fixture};
use exits::{Access, ControlWrite, Direction, Exit, PortAccess};
use proptest::prelude::*;
use spec::cpu::{Cr0, Gpr, Gprs};
use spec::vmcs::*;
use spec::{Gva, Msr, Port, Vector, Width, exit_reason as reason};

fn exit(vmcs: &mut MapVmcs, vcpu: &mut Vcpu, basic: u16, qualification: u64, gprs: &Gprs) -> Exit {
    vmcs.set(EXIT_REASON, u64::from(basic));
    vmcs.set(EXIT_QUALIFICATION, qualification);
    vcpu.decode(vmcs, gprs)
}

#[test]
fn the_hot_exits_read_the_reason_and_no_more() {
    let mut gprs = Gprs::default();
    gprs.set(Gpr::Rcx, 0xffff_ffff_0000_0830);
    for (basic, expected) in [
        (reason::CPUID, Exit::Cpuid),
        (reason::RDMSR, Exit::MsrRead(Msr(0x830))),
        (reason::WRMSR, Exit::MsrWrite(Msr(0x830))),
        (reason::HLT, Exit::Hlt),
        (reason::PREEMPTION_TIMER, Exit::TimerExpired),
        (reason::INTERRUPT_WINDOW, Exit::InterruptWindow),
        (reason::NMI_WINDOW, Exit::NmiWindow),
        (reason::VMCALL, Exit::Hypercall),
        (reason::WBINVD, Exit::CacheFlush),
        (reason::INVD, Exit::CacheFlush),
        (reason::TRIPLE_FAULT, Exit::TripleFault),
        (reason::RDPMC, Exit::Forbidden),
        (reason::VMXON, Exit::Undefined),
        (reason::GETSEC, Exit::Undefined),
        (reason::MWAIT, Exit::Undefined),
        (reason::ENCLS, Exit::Undefined),
        (reason::EPT_MISCONFIGURATION, Exit::Unknown(49)),
        (reason::INIT, Exit::Unknown(3)),
        (0xffff, Exit::Unknown(0xffff)),
    ] {
        let (mut vmcs, mut vcpu) = long();
        assert_eq!(exit(&mut vmcs, &mut vcpu, basic, 0, &gprs), expected);
        assert_eq!(vmcs.take_counts(), (1, 0), "{expected:?}");
    }
}

#[test]
fn xsetbv_is_for_ring_0() {
    for (rights, expected) in [
        (0xc093, Exit::Xsetbv),
        (0xc0b3, Exit::Forbidden),
        (0xc0f3, Exit::Forbidden),
        // As 64-bit code has it after a null selector was loaded
        (0x1_0000, Exit::Xsetbv),
        (0x1_0060, Exit::Forbidden),
    ] {
        let (mut vmcs, mut vcpu) = long();
        vmcs.set(GUEST_SS_RIGHTS, rights);
        let found = exit(&mut vmcs, &mut vcpu, reason::XSETBV, 0, &Gprs::default());
        assert_eq!(found, expected, "{rights:#x}");
    }
}

#[test]
fn user_mode_cannot_end_its_vm_by_a_task_switch() {
    for (rights, expected) in [(0xc093, Exit::TaskSwitch), (0xc0f3, Exit::Forbidden)] {
        let (mut vmcs, mut vcpu) = long();
        vmcs.set(GUEST_SS_RIGHTS, rights);
        let gprs = Gprs::default();
        let found = exit(&mut vmcs, &mut vcpu, reason::TASK_SWITCH, 0, &gprs);
        assert_eq!(found, expected, "{rights:#x}");
    }
}

#[test]
fn a_task_switch_that_an_event_makes_ends_the_vm_whatever_runs() {
    const IDT_GATE: u64 = 3 << 30;
    for (event, expected) in [
        (0x8000_0b0d, Exit::TaskSwitch),
        (0x8000_0020, Exit::TaskSwitch),
        (0x8000_0202, Exit::TaskSwitch),
        (0x8000_0480, Exit::Forbidden),
        (0x8000_0603, Exit::Forbidden),
        (0x8000_0501, Exit::Forbidden),
    ] {
        let (mut vmcs, mut vcpu) = long();
        vmcs.set(GUEST_SS_RIGHTS, 0xc0f3);
        vmcs.set(IDT_VECTORING_INFO, event);
        let gprs = Gprs::default();
        let found = exit(&mut vmcs, &mut vcpu, reason::TASK_SWITCH, IDT_GATE, &gprs);
        assert_eq!(found, expected, "{event:#x}");
    }
}

#[test]
fn a_failed_entry_keeps_its_queued_event() {
    let (mut vmcs, mut vcpu) = long();
    let _ = vcpu.inject(&mut vmcs, exits::Event::Nmi);
    vmcs.set(EXIT_REASON, 1 << 31 | 33);
    assert_eq!(
        vcpu.decode(&mut vmcs, &Gprs::default()),
        Exit::EntryFailed(33)
    );
    assert!(!vcpu.can_take_nmi(&vmcs));
}

#[test]
fn ports() {
    for (qualification, port, width, direction) in [
        (0x03f8_0000, 0x3f8, Width::B1, Direction::Out),
        (0x0cf8_0043, 0xcf8, Width::B4, Direction::Out),
        (0x0070_0049, 0x70, Width::B2, Direction::In),
        (0xffff_0008, 0xffff, Width::B1, Direction::In),
    ] {
        let (mut vmcs, mut vcpu) = long();
        let found = exit(
            &mut vmcs,
            &mut vcpu,
            reason::IO_INSTRUCTION,
            qualification,
            &Gprs::default(),
        );
        let expected = PortAccess {
            port: Port(port),
            width,
            direction,
        };
        assert_eq!(found, Exit::Port(expected));
        assert_eq!(vmcs.take_counts(), (2, 0));
    }
}

#[test]
fn string_ports_carry_what_the_walk_needs() {
    let (mut vmcs, mut vcpu) = real();
    vmcs.set(EXIT_INSTRUCTION_INFO, 3 << 15);
    let found = exit(
        &mut vmcs,
        &mut vcpu,
        reason::IO_INSTRUCTION,
        0x01f0_0039,
        &Gprs::default(),
    );
    let Exit::PortString(s) = found else {
        panic!("{found:?}");
    };
    assert_eq!(s.access.port, Port(0x1f0));
    assert_eq!(
        (s.access.width, s.access.direction),
        (Width::B2, Direction::In)
    );
    assert!(s.repeated);
    assert_eq!(
        (s.address_size, s.segment),
        (Width::B2, 0),
        "INS writes to ES"
    );
    assert!(s.cpu.is_real());
    assert_eq!(s.cpu.segments, fixture::real_start().segments);
}

#[test]
fn an_undefined_port_width_is_not_guessed() {
    for width in [2, 4, 5, 6, 7] {
        let (mut vmcs, mut vcpu) = long();
        let found = exit(
            &mut vmcs,
            &mut vcpu,
            reason::IO_INSTRUCTION,
            width,
            &Gprs::default(),
        );
        assert_eq!(found, Exit::Unknown(reason::IO_INSTRUCTION));
    }
}

fn fault(qualification: u64, vectoring: u64) -> exits::GpaFault {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(GUEST_PHYSICAL_ADDRESS, 0xfee0_0300);
    vmcs.set(GUEST_LINEAR_ADDRESS, 0xffff_c900_0000_0300);
    vmcs.set(IDT_VECTORING_INFO, vectoring);
    match exit(
        &mut vmcs,
        &mut vcpu,
        reason::EPT_VIOLATION,
        qualification,
        &Gprs::default(),
    ) {
        Exit::GpaFault(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_ept_violation_of_an_operand_has_its_linear_address() {
    let f = fault(0x182, 0);
    assert_eq!(
        (f.gpa.0, f.access, f.present),
        (0xfee0_0300, Access::Write, false)
    );
    assert_eq!(f.linear, Some(Gva(0xffff_c900_0000_0300)));
    assert_eq!(f.cpu.rip, 0x20_0000);
    assert!(f.cpu.is_64_bit());
    assert_eq!(fault(0x181, 0).access, Access::Read);
    assert_eq!(fault(0x183, 0).access, Access::Write);
    assert_eq!(fault(0x184, 0).access, Access::Fetch);
    assert!(fault(0x18a, 0).present);
}

#[test]
fn an_access_of_the_processors_own_is_not_the_instructions() {
    assert_eq!(fault(0x082, 0).linear, None, "a paging-structure entry");
    assert_eq!(fault(0x002, 0).linear, None, "no linear address");
    assert_eq!(fault(0x1_0182, 0).linear, None, "asynchronous");
    // The stack of an interrupt handler lies in emulated memory: the instruction at RIP did not write there.
    assert_eq!(
        fault(0x182, 0x8000_0031).linear,
        None,
        "delivery of an event"
    );
}

#[test]
fn in_64_bit_mode_flat_segments_are_not_read() {
    let (mut vmcs, mut vcpu) = long();
    exit(
        &mut vmcs,
        &mut vcpu,
        reason::EPT_VIOLATION,
        0x182,
        &Gprs::default(),
    );
    // Reason, qualification, vectoring, two addresses; RIP, RSP, RFLAGS, CR0, CR3, CR4, EFER; two rights, two bases.
    assert_eq!(vmcs.take_counts(), (16, 0));
}

fn cr(qualification: u64, start: fn() -> (MapVmcs, Vcpu), gprs: &Gprs) -> Exit {
    let (mut vmcs, mut vcpu) = start();
    vmcs.set(GUEST_RSP, 0x7777);
    exit(&mut vmcs, &mut vcpu, reason::CR_ACCESS, qualification, gprs)
}

fn value(exit: Exit) -> u64 {
    match exit {
        Exit::Cr0Write(ControlWrite { value, .. }) | Exit::Cr4Write(ControlWrite { value, .. }) => {
            value
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn control_register_writes_become_the_value_that_is_written() {
    let mut gprs = Gprs::default();
    gprs.set(Gpr::R9, 0x1_8000_0011);
    gprs.set(Gpr::Rsp, 0xbad);
    let write = cr(0x900, long, &gprs);
    assert_eq!(value(write), 0x1_8000_0011);
    assert!(
        matches!(write, Exit::Cr0Write(w) if w.old.cs_long && w.old.cr0 == fixture::long_start().cr0)
    );
    assert_eq!(
        value(cr(0x904, real, &gprs)),
        0x8000_0011,
        "32 bits outside 64-bit mode"
    );
    assert_eq!(value(cr(0x404, long, &gprs)), 0x7777, "RSP is in the VMCS");
    assert!(matches!(cr(0x904, long, &gprs), Exit::Cr4Write(_)));
    assert_eq!(cr(0x408, long, &gprs), Exit::Cr8Write(0x7777));
    assert_eq!(cr(0x918, long, &gprs), Exit::Cr8Read(Gpr::R9));
    assert_eq!(cr(0x903, long, &gprs), Exit::Unknown(reason::CR_ACCESS));
    assert_eq!(cr(0x910, long, &gprs), Exit::Unknown(reason::CR_ACCESS));
}

/// The fault: CS.L and a 16-bit TSS were not looked at, and a guest that activated IA-32e mode with either by a write that exits was
/// stopped over the entry behind it.
#[test]
fn what_bars_ia32e_mode_is_told_with_the_write_that_would_activate_it() {
    for (cs, tr, efer, bars) in [
        (0xc09b, 0x8b, 0x100, false),
        (0xe09b, 0x8b, 0x100, true),
        (0xa09b, 0x8b, 0x100, true),
        (0xc09b, 0x83, 0x100, true),
        (0xe09b, 0x83, 0, false),
    ] {
        let (mut vmcs, mut vcpu) = real();
        vmcs.set(GUEST_CS_RIGHTS, cs);
        vmcs.set(GUEST_TR_RIGHTS, tr);
        vmcs.set(GUEST_EFER, efer);
        let write = exit(&mut vmcs, &mut vcpu, reason::CR_ACCESS, 0, &Gprs::default());
        assert!(
            matches!(write, Exit::Cr0Write(w) if w.old.bars_ia32e == bars),
            "{cs:#x} {tr:#x} {efer:#x}"
        );
    }
    // While it is active nothing is asked.
    let (mut vmcs, mut vcpu) = long();
    let write = exit(&mut vmcs, &mut vcpu, reason::CR_ACCESS, 0, &Gprs::default());
    assert!(matches!(write, Exit::Cr0Write(w) if !w.old.bars_ia32e));
}

#[test]
fn clts_and_lmsw_change_only_their_bits() {
    let old = fixture::long_start().cr0;
    let none = Gprs::default();
    assert_eq!(value(cr(0x20, long, &none)), old & !Cr0::TS.bits());
    // The source has all of its bits set but PE: PE stays, ET and NE are not loaded.
    assert_eq!(value(cr(0xfffe_0030, long, &none)), old | 0xe);
    assert_eq!(
        value(cr(0x0000_0030, long, &none)),
        old,
        "LMSW does not clear PE"
    );
    let real_old = fixture::real_start().cr0;
    assert_eq!(value(cr(0x0001_0030, real, &none)), real_old | 1);
}

#[test]
fn the_guest_sees_its_own_control_registers() {
    let (vmcs, vcpu) = real();
    assert_eq!(
        vcpu.cr0(&vmcs),
        0x6000_0010,
        "CD and NW after reset, NE clear"
    );
    assert_eq!(vmcs.get(GUEST_CR0) & 0x6000_0020, 0x20, "and not in truth");
    assert_eq!(vcpu.cr4(&vmcs), 0, "neither VMXE nor the host's MCE");
    assert_eq!(vmcs.get(GUEST_CR4), 0x2040);
}

#[test]
fn efer_is_a_control_register() {
    let mut gprs = Gprs::default();
    gprs.set(Gpr::Rcx, 0xc000_0080);
    gprs.set_edx_eax(0x901);
    let (mut vmcs, mut vcpu) = long();
    let found = exit(&mut vmcs, &mut vcpu, reason::WRMSR, 0, &gprs);
    assert!(
        matches!(found, Exit::EferWrite(w) if w.value == 0x901 && w.old.efer == 0x500 && w.old.cr4 == 0x20)
    );
}

#[test]
fn host_events() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(EXIT_INTERRUPTION_INFO, 0x8000_0041);
    assert_eq!(
        exit(
            &mut vmcs,
            &mut vcpu,
            reason::EXTERNAL_INTERRUPT,
            0,
            &Gprs::default()
        ),
        Exit::HostInterrupt(Vector(0x41))
    );
    vmcs.set(EXIT_INTERRUPTION_INFO, 0x8000_0202);
    assert_eq!(
        exit(
            &mut vmcs,
            &mut vcpu,
            reason::EXCEPTION_OR_NMI,
            0,
            &Gprs::default()
        ),
        Exit::HostNmi
    );
    vmcs.set(EXIT_INTERRUPTION_INFO, 0x8000_0b11);
    vmcs.set(EXIT_INTERRUPTION_ERROR_CODE, 0);
    assert_eq!(
        exit(
            &mut vmcs,
            &mut vcpu,
            reason::EXCEPTION_OR_NMI,
            0,
            &Gprs::default()
        ),
        Exit::Exception {
            vector: Vector(17),
            error_code: Some(0),
            qualification: 0
        }
    );
}

proptest! {
    /// No exit information, however odd, makes decoding panic, and what is put back is never malformed.
    #[test]
    fn decoding_is_total(
        basic in prop_oneof![any::<u32>(), 0_u32..80],
        fields in prop::collection::vec((0..ALL.len(), any::<u64>()), 0..12),
        qualification in any::<u64>(),
        interruption in any::<u32>(),
        vectoring in any::<u32>(),
        gprs in any::<[u64; 16]>(),
        in_long_mode in any::<bool>(),
    ) {
        let (mut vmcs, mut vcpu) = if in_long_mode { long() } else { real() };
        for (index, value) in fields {
            vmcs.set(ALL[index].0, value);
        }
        vmcs.set(EXIT_REASON, u64::from(basic));
        vmcs.set(EXIT_QUALIFICATION, qualification);
        vmcs.set(EXIT_INTERRUPTION_INFO, u64::from(interruption));
        vmcs.set(IDT_VECTORING_INFO, u64::from(vectoring));
        vmcs.set(ENTRY_INTERRUPTION_INFO, 0);
        let exit = vcpu.decode(&mut vmcs, &Gprs(gprs));
        if basic >> 31 != 0 {
            prop_assert_eq!(exit, Exit::EntryFailed(basic as u16));
        }
        prop_assert_eq!(vmcs.get(ENTRY_INTERRUPTION_INFO) & 0x7fff_f000, 0);
    }
}
