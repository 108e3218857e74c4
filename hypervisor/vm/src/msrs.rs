//! RDMSR and WRMSR of what is not direct: local APIC, time, PAT, and the policy's fixed values.

use crate::interrupts::done;
use crate::{Vcpu, Vm};
use exits::{Answer, Event, SystemWrite};
use platform::msr::valid_pat;
use seam::{GuestMem, SerialLine};
use spec::apic::register;
use spec::cpu::Gprs;
use spec::{Msr, Ticks, msr};

const SVR: Msr = Msr(msr::X2APIC_FIRST.0 + register::SVR as u32);
const EOI: Msr = Msr(msr::X2APIC_FIRST.0 + register::EOI as u32);
const LVT_TIMER: Msr = Msr(msr::X2APIC_FIRST.0 + register::LVT_TIMER as u32);
const X2APIC: core::ops::RangeInclusive<u32> = msr::X2APIC_FIRST.0..=msr::X2APIC_LAST.0;

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    #[inline]
    pub(crate) fn read_msr(&self, vcpu: &Vcpu, gprs: &mut Gprs, which: Msr, now: Ticks) -> Answer {
        let value = match which {
            msr::TSC_DEADLINE => Some(vcpu.lapic.tsc_deadline(now)),
            m if X2APIC.contains(&m.0) => vcpu.lapic.read_msr(m, now).ok(),
            msr::APIC_BASE => Some(vcpu.lapic.base_msr()),
            msr::TSC => Some(now.0.wrapping_add(vcpu.tsc_offset)),
            msr::TSC_ADJUST => Some(vcpu.tsc_adjust),
            m => self.policy.msrs.fixed_read(m),
        };
        match value {
            Some(value) => {
                gprs.set_edx_eax(value);
                Answer::Advance
            }
            None => Answer::Inject(Event::GP0),
        }
    }

    #[inline]
    pub(crate) fn write_msr(&self, vcpu: &mut Vcpu, gprs: &Gprs, which: Msr, now: Ticks) -> Answer {
        let value = gprs.edx_eax();
        match which {
            msr::TSC_DEADLINE => {
                vcpu.lapic.set_tsc_deadline(value, now);
                Answer::Advance
            }
            m if X2APIC.contains(&m.0) => match vcpu.lapic.write_msr(m, value, now) {
                Ok(effect) => {
                    match m {
                        EOI => vcpu.unsettled |= vcpu.lapic.owes_end(),
                        SVR => {
                            // Whether it takes interrupts, which is all that can change of what it answers to.
                            self.publish(vcpu);
                            vcpu.unsettled = true;
                        }
                        LVT_TIMER => vcpu.unsettled = true,
                        _ => {}
                    }
                    done(self.carry(vcpu, effect))
                }
                Err(_) => Answer::Inject(Event::GP0),
            },
            msr::APIC_BASE => match vcpu.lapic.set_base_msr(value) {
                Ok(()) => {
                    self.publish(vcpu);
                    vcpu.unsettled = true;
                    Answer::Advance
                }
                Err(_) => Answer::Inject(Event::GP0),
            },
            msr::TSC => {
                let offset = value.wrapping_sub(now.0);
                // "Time-Stamp Counter Adjustment": a write to the one moves the other by as much.
                vcpu.tsc_adjust = vcpu
                    .tsc_adjust
                    .wrapping_add(offset.wrapping_sub(vcpu.tsc_offset));
                shift_time(vcpu, offset, now)
            }
            msr::TSC_ADJUST => {
                let offset = vcpu
                    .tsc_offset
                    .wrapping_add(value.wrapping_sub(vcpu.tsc_adjust));
                vcpu.tsc_adjust = value;
                shift_time(vcpu, offset, now)
            }
            msr::PAT if valid_pat(value) => Answer::Write(SystemWrite::Pat(value)),
            m if self.policy.msrs.write_ignored(m, value) => Answer::Advance,
            _ => Answer::Inject(Event::GP0),
        }
    }

    /// Tells the other vCPUs what this one's local APIC answers to now.
    pub(crate) fn publish(&self, vcpu: &Vcpu) {
        if let Some(m) = self.mailboxes.get(vcpu.index as usize) {
            m.publish(vcpu.lapic.address());
        }
    }
}

fn shift_time(vcpu: &mut Vcpu, offset: u64, now: Ticks) -> Answer {
    vcpu.tsc_offset = offset;
    vcpu.unsettled = true;
    vcpu.lapic.set_tsc_offset(offset, now);
    Answer::Write(SystemWrite::TscOffset(offset))
}
