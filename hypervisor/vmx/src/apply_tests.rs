use crate::fixture::{long, real};
use crate::{Effect, Wants, fixture, merge_dr6};
use exits::{Answer, Event, Stop, SystemWrite};
use spec::cpu::{Cr0, Cr4, Gprs};
use spec::vmcs::*;
use spec::{Ticks, exit_reason as reason};

#[test]
fn a_cpuid_exit_costs_five_reads_and_one_write() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(EXIT_REASON, u64::from(reason::CPUID));
    vmcs.set(EXIT_INSTRUCTION_LENGTH, 2);
    vcpu.decode(&mut vmcs, &Gprs::default());
    assert_eq!(vcpu.apply(&mut vmcs, Answer::Advance), Effect::None);
    assert_eq!(vmcs.take_counts(), (5, 1));
    assert_eq!(vmcs.get(GUEST_RIP), 0x20_0002);
}

#[test]
fn retry_and_stop_touch_nothing() {
    let (mut vmcs, mut vcpu) = long();
    assert_eq!(vcpu.apply(&mut vmcs, Answer::Retry), Effect::None);
    let stop = Stop::PowerOff;
    assert_eq!(
        vcpu.apply(&mut vmcs, Answer::Stop(stop)),
        Effect::Stop(stop)
    );
    assert_eq!(vmcs.take_counts(), (0, 0));
}

#[test]
fn halting_sleeps_unless_it_is_stepped() {
    for (rflags, effect) in [(0x202, Effect::Halt), (0x302, Effect::None)] {
        let (mut vmcs, mut vcpu) = long();
        vmcs.set(GUEST_RFLAGS, rflags);
        vmcs.set(EXIT_INSTRUCTION_LENGTH, 1);
        assert_eq!(vcpu.apply(&mut vmcs, Answer::Halt), effect);
        assert_eq!(vmcs.get(GUEST_RIP), 0x20_0001);
    }
}

#[test]
fn injecting_leaves_rip() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(EXIT_INSTRUCTION_LENGTH, 2);
    assert_eq!(
        vcpu.apply(&mut vmcs, Answer::Inject(Event::UD)),
        Effect::None
    );
    assert_eq!(vmcs.get(GUEST_RIP), 0x20_0000);
    assert_eq!(vmcs.get(ENTRY_INTERRUPTION_INFO), 0x8000_0306);
}

#[test]
fn an_emulated_instruction_brings_its_own_length() {
    let (mut vmcs, mut vcpu) = long();
    // The SDM leaves the field undefined at an EPT violation.
    vmcs.set(EXIT_INSTRUCTION_LENGTH, 0x55);
    let answer = Answer::Emulated {
        length: 7,
        rflags: 0x246,
        rsp: Some(0x9000),
    };
    assert_eq!(vcpu.apply(&mut vmcs, answer), Effect::None);
    assert_eq!(vmcs.get(GUEST_RIP), 0x20_0007);
    assert_eq!(vmcs.get(GUEST_RFLAGS), 0x246);
    assert_eq!(vmcs.get(GUEST_RSP), 0x9000);
}

#[test]
fn simple_registers() {
    let (mut vmcs, mut vcpu) = long();
    for (write, field, value) in [
        (SystemWrite::Rsp(0x1234), GUEST_RSP, 0x1234),
        (SystemWrite::Pat(0x0606), GUEST_PAT, 0x0606),
        (SystemWrite::TscOffset(u64::MAX), TSC_OFFSET, u64::MAX),
    ] {
        assert_eq!(vcpu.write_system(&mut vmcs, write), Effect::None);
        assert_eq!(vmcs.get(field), value);
    }
    assert_eq!(
        vcpu.write_system(&mut vmcs, SystemWrite::Xcr0(7)),
        Effect::SetXcr0(7)
    );
}

#[test]
fn cache_control_stays_ours() {
    let (mut vmcs, mut vcpu) = long();
    let value = vcpu.cr0(&vmcs) | (Cr0::CD | Cr0::NW).bits();
    assert_eq!(
        vcpu.write_system(&mut vmcs, SystemWrite::Cr0(value)),
        Effect::FlushLinear { pdptes: false }
    );
    assert_eq!(vcpu.cr0(&vmcs), value, "the guest sees what it wrote");
    assert_eq!(vmcs.get(GUEST_CR0) & (Cr0::CD | Cr0::NW).bits(), 0);
}

#[test]
fn numeric_error_stays_set_in_truth() {
    let (mut vmcs, mut vcpu) = real();
    let value = (Cr0::PE | Cr0::ET).bits();
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr0(value));
    assert_eq!(vcpu.cr0(&vmcs), value);
    assert_eq!(vmcs.get(GUEST_CR0), value | Cr0::NE.bits());
}

#[test]
fn cr4_keeps_vmx_and_the_hosts_machine_checks() {
    let (mut vmcs, mut vcpu) = long();
    let value = (Cr4::PAE | Cr4::OSXSAVE).bits();
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr4(value));
    assert_eq!(vcpu.cr4(&vmcs), value);
    assert_eq!(vmcs.get(GUEST_CR4), value | (Cr4::VMXE | Cr4::MCE).bits());
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr4(value | Cr4::MCE.bits()));
    assert_eq!(vcpu.cr4(&vmcs), value | Cr4::MCE.bits());
}

#[test]
fn a_bit_that_is_not_the_guests_exits() {
    let (vmcs, _) = long();
    let mask = vmcs.get(CR4_MASK);
    assert_eq!(!mask, fixture::GUEST_CR4, "exactly what was given away");
    let owned =
        (Cr0::PE | Cr0::MP | Cr0::EM | Cr0::TS | Cr0::ET | Cr0::WP | Cr0::AM | Cr0::PG).bits();
    assert_eq!(!vmcs.get(CR0_MASK), owned);
}

#[test]
fn nobody_can_give_away_what_is_pinned() {
    let capabilities = fixture::capabilities();
    let controls = fixture::controls(&capabilities);
    let vcpu = crate::Vcpu::new(&controls, fixture::HOST.cr4, u64::MAX, 52);
    let pinned = (Cr4::VMXE | Cr4::SMXE | Cr4::MCE).bits() | !capabilities.cr4.may_be_one;
    assert_eq!(vcpu.cr4.mask, pinned);
}

#[test]
fn paging_switches_long_mode_on_and_off() {
    let (mut vmcs, mut vcpu) = real();
    let entry = vmcs.get(ENTRY_CONTROLS);
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Efer(0x901));
    assert_eq!(vmcs.get(GUEST_EFER), 0x901, "LME alone");
    assert_eq!(vmcs.get(ENTRY_CONTROLS), entry);
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr4(Cr4::PAE.bits()));
    let on = (Cr0::PE | Cr0::PG | Cr0::ET | Cr0::NE).bits();
    assert_eq!(
        vcpu.write_system(&mut vmcs, SystemWrite::Cr0(on)),
        Effect::FlushLinear { pdptes: false }
    );
    assert_eq!(vmcs.get(GUEST_EFER), 0xd01);
    assert_eq!(vmcs.get(ENTRY_CONTROLS), entry | 1 << 9);
    let off = on & !Cr0::PG.bits();
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr0(off));
    assert_eq!(vmcs.get(GUEST_EFER), 0x901);
    assert_eq!(vmcs.get(ENTRY_CONTROLS), entry);
}

#[test]
fn lma_is_not_the_guests_to_write() {
    let (mut vmcs, mut vcpu) = long();
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Efer(0x900));
    assert_eq!(vmcs.get(GUEST_EFER), 0xd00);
    let (mut vmcs, mut vcpu) = real();
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Efer(0xd00));
    assert_eq!(vmcs.get(GUEST_EFER), 0x900);
}

#[test]
fn pae_paging_loads_its_four_entries() {
    let (mut vmcs, mut vcpu) = real();
    let _ = vcpu.write_system(&mut vmcs, SystemWrite::Cr4(Cr4::PAE.bits()));
    let on = (Cr0::PE | Cr0::PG | Cr0::NE | Cr0::ET).bits();
    let loads = Effect::FlushLinear { pdptes: true };
    assert_eq!(vcpu.write_system(&mut vmcs, SystemWrite::Cr0(on)), loads);
    let wp = SystemWrite::Cr0(on | Cr0::WP.bits());
    let not = Effect::FlushLinear { pdptes: false };
    assert_eq!(vcpu.write_system(&mut vmcs, wp), not, "WP does not");
    let pge = SystemWrite::Cr4((Cr4::PAE | Cr4::PGE).bits());
    assert_eq!(vcpu.write_system(&mut vmcs, pge), loads);
    vcpu.set_pdptes(&mut vmcs, [1, 2, 3, 4]);
    assert_eq!(vmcs.get(GUEST_PDPTE3), 4);
}

#[test]
fn the_timer_counts_in_its_own_rate() {
    let capabilities = fixture::capabilities();
    let (mut vmcs, vcpu) =
        fixture::started(&capabilities, &Wants::default(), &fixture::long_start());
    // IA32_VMX_MISC of this processor says bit 7 of the TSC.
    vcpu.set_timer(&mut vmcs, Ticks(1280));
    assert_eq!(vmcs.get(PREEMPTION_TIMER), 10);
}

#[test]
fn dr6_reports_breakpoints_anew_and_the_rest_in_addition() {
    const IDLE: u64 = 0xffff_0ff0;
    assert_eq!(merge_dr6(IDLE, 1 << 14), 0xffff_4ff0);
    assert_eq!(merge_dr6(0xffff_0ff3, 4), 0xffff_0ff4, "old breakpoints go");
    assert_eq!(merge_dr6(0xffff_4ff0, 1 << 13), 0xffff_6ff0, "BS stays");
    assert_eq!(
        merge_dr6(IDLE, 1 << 16 | 1),
        0xfffe_0ff1,
        "RTM reports by zero"
    );
    assert_eq!(
        merge_dr6(0xfffe_0ff0, 1),
        0xffff_0ff1,
        "and is set by the next"
    );
    assert_eq!(
        merge_dr6(IDLE, 1 << 12 | 1 << 40),
        IDLE,
        "other bits are not DR6's"
    );
}
