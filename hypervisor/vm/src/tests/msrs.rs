//! CPUID, RDMSR and WRMSR.

use super::fake::Machine;
use exits::{Answer, ControlWrite, Event, Exit, SystemWrite};
use spec::cpu::{Cr4, Gpr};
use spec::state::ControlState;
use spec::{Msr, Ticks, msr};

const GP: Answer = Answer::Inject(Event::GP0);

fn cpuid(m: &mut Machine, i: usize, leaf: u64, subleaf: u64) -> [u64; 4] {
    m.gprs.set(Gpr::Rax, leaf);
    m.gprs.set(Gpr::Rbx, u64::MAX);
    m.gprs.set(Gpr::Rcx, subleaf);
    m.gprs.set(Gpr::Rdx, u64::MAX);
    assert_eq!(m.step_on(i, Exit::Cpuid), Answer::Advance);
    [Gpr::Rax, Gpr::Rbx, Gpr::Rcx, Gpr::Rdx].map(|r| m.gprs.get(r))
}

#[test]
fn cpuid_reads_and_leaves_32_bits_of_four_registers() {
    let mut m = Machine::new(2);
    m.gprs.set(Gpr::Rsi, 0x1234);
    let [max, b, c, d] = cpuid(&mut m, 0, 0xffff_ffff_0000_0000, 0xffff_ffff_0000_0000);
    assert_eq!(
        [max, b, c, d],
        [0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]
    );
    assert_eq!(m.gprs.get(Gpr::Rsi), 0x1234);
    // The initial APIC id is the vCPU's own.
    for i in 0..2 {
        let [_, b, ..] = cpuid(&mut m, i, 1, 0);
        assert_eq!(b >> 24, i as u64);
    }
}

#[test]
fn cpuid_follows_the_local_apics_enable_bit() {
    let mut m = Machine::new(2);
    let shown = |m: &mut Machine, i| cpuid(m, i, 1, 0)[3] >> 9 & 1;
    m.vcpus[1].lapic.set_base_msr(0xfee0_0000).unwrap();
    assert_eq!([0, 1].map(|i| shown(&mut m, i)), [1, 0]);
    m.vcpus[1].lapic.set_base_msr(0xfee0_0800).unwrap();
    assert_eq!(shown(&mut m, 1), 1);
}

#[test]
fn cpuid_follows_cr4_and_xcr0() {
    let mut m = Machine::new(1);
    let osxsave = |m: &mut Machine| cpuid(m, 0, 1, 0)[2] >> 27 & 1;
    assert_eq!(osxsave(&mut m), 0);
    assert_eq!(cpuid(&mut m, 0, 0xd, 0)[1], 576);
    let write = |value| {
        Exit::Cr4Write(ControlWrite {
            value,
            old: ControlState::default(),
        })
    };
    let on = Cr4::OSXSAVE.bits();
    assert_eq!(m.step(write(on)), Answer::Write(SystemWrite::Cr4(on)));
    assert_eq!(osxsave(&mut m), 1);
    // What is refused changes nothing.
    assert_eq!(m.step(write(Cr4::VMXE.bits())), GP);
    assert_eq!(osxsave(&mut m), 1);
    assert_eq!(m.step(write(0)), Answer::Write(SystemWrite::Cr4(0)));
    assert_eq!(osxsave(&mut m), 0);

    m.gprs.set(Gpr::Rcx, 0);
    m.gprs.set_edx_eax(7);
    assert_eq!(m.step(Exit::Xsetbv), Answer::Write(SystemWrite::Xcr0(7)));
    assert_eq!(cpuid(&mut m, 0, 0xd, 0)[1], 832);
    for (rcx, value) in [(1, 7), (0, 6), (0, 5), (0, 7 | 1 << 9), (0, 7 | 1 << 63)] {
        m.gprs.set(Gpr::Rcx, rcx);
        m.gprs.set_edx_eax(value);
        assert_eq!(m.step(Exit::Xsetbv), GP, "XCR{rcx} = {value:#x}");
        assert_eq!(cpuid(&mut m, 0, 0xd, 0)[1], 832);
    }
}

#[test]
fn rdmsr_clears_the_upper_halves_and_a_fault_leaves_all_registers() {
    let mut m = Machine::new(1);
    m.gprs.set(Gpr::Rax, u64::MAX);
    m.gprs.set(Gpr::Rdx, u64::MAX);
    assert_eq!(m.rdmsr(0, msr::APIC_BASE), Some(0xfee0_0900));
    assert_eq!(m.gprs.get(Gpr::Rax), 0xfee0_0900);
    assert_eq!(m.gprs.get(Gpr::Rdx), 0);
    m.gprs.set(Gpr::Rax, u64::MAX);
    m.gprs.set(Gpr::Rdx, 0x1234_5678_9abc_def0);
    let before = m.gprs;
    for absent in [0, 0x3a, 0x48, 0x400, 0x480, 0xc000_0103, 0xc001_0015, !0] {
        assert_eq!(m.rdmsr(0, Msr(absent)), None, "{absent:#x}");
        assert_eq!(m.gprs, before);
        assert_eq!(m.wrmsr(0, Msr(absent), 0), GP, "{absent:#x}");
        m.gprs = before;
    }
}

#[test]
fn x2apic_registers_are_there_in_x2apic_mode_alone() {
    let mut m = Machine::new(1);
    for number in 0x800..=0x8ff {
        assert_eq!(m.rdmsr(0, Msr(number)), None, "{number:#x}");
        assert_eq!(m.wrmsr(0, Msr(number), 0), GP, "{number:#x}");
    }
    let mut m = Machine::x2apic(2);
    assert_eq!(m.rdmsr(1, Msr(0x802)), Some(1), "id");
    assert_eq!(m.rdmsr(1, Msr(0x80d)), Some(2), "logical id");
    assert_eq!(m.rdmsr(0, Msr(0x80b)), None, "EOI is write-only");
    assert_eq!(m.wrmsr(0, Msr(0x802), 0), GP, "the id is read-only");
    assert_eq!(m.wrmsr(0, Msr(0x80b), 1), GP, "EOI takes zero alone");
    assert_eq!(m.wrmsr(0, Msr(0x808), 0x100), GP, "reserved bits of TPR");
    assert_eq!(m.wrmsr(0, Msr(0x808), 0x20), Answer::Advance);
    assert_eq!(m.step(Exit::Cr8Read(Gpr::R9)), Answer::Advance);
    assert_eq!(m.gprs.get(Gpr::R9), 2);
}

/// SDM vol. 3, "x2APIC State Transitions".
#[test]
fn apic_base_moves_as_the_manual_draws_it() {
    const OFF: u64 = 0xfee0_0100;
    const XAPIC: u64 = 0xfee0_0900;
    const X2APIC: u64 = 0xfee0_0d00;
    let mut m = Machine::new(1);
    for (value, done) in [
        (0xfee0_0500, false),
        (0xfed0_0900, false),
        (XAPIC | 1 << 39, false),
        (XAPIC | 1, false),
        (X2APIC, true),
        (XAPIC, false),
        (OFF, true),
        (X2APIC, false),
        (XAPIC, true),
        (X2APIC, true),
    ] {
        let before = m.rdmsr(0, msr::APIC_BASE);
        let answer = m.wrmsr(0, msr::APIC_BASE, value);
        assert_eq!(
            answer,
            if done { Answer::Advance } else { GP },
            "{value:#x}"
        );
        let after = if done { Some(value) } else { before };
        assert_eq!(m.rdmsr(0, msr::APIC_BASE), after);
    }
}

/// SDM vol. 3, "Time-Stamp Counter Adjustment".
#[test]
fn tsc_and_tsc_adjust_move_together() {
    let mut m = Machine::new(1);
    let offset = |n: i64| Answer::Write(SystemWrite::TscOffset(n as u64));
    assert_eq!(m.rdmsr(0, msr::TSC), Some(1_000_000));
    assert_eq!(m.rdmsr(0, msr::TSC_ADJUST), Some(0));

    assert_eq!(m.wrmsr(0, msr::TSC, 0), offset(-1_000_000));
    assert_eq!(m.rdmsr(0, msr::TSC_ADJUST), Some(-1_000_000i64 as u64));
    m.now = Ticks(1_000_500);
    assert_eq!(m.rdmsr(0, msr::TSC), Some(500));

    assert_eq!(m.wrmsr(0, msr::TSC_ADJUST, 0), offset(0));
    assert_eq!(m.rdmsr(0, msr::TSC), Some(1_000_500));
    assert_eq!(m.wrmsr(0, msr::TSC_ADJUST, u64::MAX), offset(-1));
    assert_eq!(m.rdmsr(0, msr::TSC), Some(1_000_499));
    assert_eq!(m.rdmsr(0, msr::TSC_ADJUST), Some(u64::MAX));
    // All the way round
    assert_eq!(m.wrmsr(0, msr::TSC, u64::MAX), offset(-1_000_501));
    assert_eq!(m.rdmsr(0, msr::TSC), Some(u64::MAX));
    assert_eq!(m.rdmsr(0, msr::TSC_ADJUST), Some(-1_000_501i64 as u64));
}

#[test]
fn pat_takes_memory_types_alone() {
    let mut m = Machine::new(1);
    let reset = 0x0007_0406_0007_0406;
    assert_eq!(
        m.wrmsr(0, msr::PAT, reset),
        Answer::Write(SystemWrite::Pat(reset))
    );
    for bad in [2, 3, 8, 0x0200, 0xff00_0000_0000_0000] {
        assert_eq!(m.wrmsr(0, msr::PAT, bad), GP, "{bad:#x}");
    }
}

#[test]
fn fixed_registers_read_as_the_policy_says_and_drop_what_it_lets_go() {
    let mut m = Machine::new(1);
    assert_eq!(m.rdmsr(0, msr::BIOS_SIGN_ID), Some(0));
    assert_eq!(m.wrmsr(0, msr::BIOS_SIGN_ID, 0), Answer::Advance);
    assert_eq!(m.wrmsr(0, msr::BIOS_SIGN_ID, 1), GP);
    assert_eq!(m.wrmsr(0, msr::DEBUGCTL, 3), Answer::Advance);
    assert_eq!(m.rdmsr(0, msr::DEBUGCTL), Some(0));
    assert_eq!(m.wrmsr(0, msr::DEBUGCTL, 4), GP);
}
