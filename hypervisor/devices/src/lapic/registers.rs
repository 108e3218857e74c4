//! The registers, as MSRs and in memory (SDM vol. 3, "Local APIC Register Address Map", "x2APIC Register
//! Address Space", "Reserved Bit Checking").

use super::carried::Carried;
use super::{Effect, Lapic, Mode, address, icr, lvt};
use crate::interrupt::Destination;
use seam::AccessError;
use spec::apic::{DIVIDE_MASK, Esr, FIRST_VECTOR, Icr, Svr, register};
use spec::msr::X2APIC_FIRST;
use spec::{Msr, Ticks, Width};

/// Version: integrated APIC (0x14), number of the last LVT entry in bits 23:16, no EOI-broadcast suppression.
pub(super) const VERSION: u32 = 0x14 | ((lvt::ENTRIES as u32 - 1) << 16);

/// What SVR takes. Bit 9 is kept though it has no effect, as on processors without focus checking.
const SVR_WRITABLE: u32 = Svr::VECTOR.bits() | Svr::ENABLE.bits() | Svr::FOCUS_OFF.bits();

impl Lapic {
    /// Reads an x2APIC register.
    ///
    /// # Errors
    /// Each one means #GP: [`AccessError::Absent`] outside x2APIC mode, or where no readable register is.
    pub fn read_msr(&self, msr: Msr, now: Ticks) -> Result<u64, AccessError> {
        match self.x2apic_register(msr)? {
            register::ICR => Ok(self.icr),
            register::ID => Ok(self.id.into()),
            register::LDR => Ok(address::x2apic_logical(self.id).into()),
            register::EOI | register::SELF_IPI => Err(AccessError::Absent),
            number => self
                .read(number, now)
                .map(u64::from)
                .ok_or(AccessError::Absent),
        }
    }

    /// Writes an x2APIC register.
    ///
    /// # Errors
    /// Each one means #GP: [`AccessError::Absent`] outside x2APIC mode, or where no writable register is;
    /// [`AccessError::Value`] for reserved bits.
    pub fn write_msr(&mut self, msr: Msr, value: u64, now: Ticks) -> Result<Effect, AccessError> {
        let number = self.x2apic_register(msr)?;
        match number {
            register::EOI if value == 0 => return Ok(self.end_of_interrupt()),
            register::ICR => return self.write_x2apic_icr(value),
            _ => {}
        }
        let value = u32::try_from(value).map_err(|_| AccessError::Value)?;
        let allowed = match number {
            register::TPR | register::SELF_IPI => 0xff,
            register::EOI | register::ESR => 0,
            register::SVR => SVR_WRITABLE,
            register::TIMER_INITIAL => u32::MAX,
            register::TIMER_DIVIDE => DIVIDE_MASK,
            register::LVT_TIMER..=register::LVT_ERROR => {
                if !lvt::Table::takes(number.wrapping_sub(register::LVT_TIMER), value) {
                    return Err(AccessError::Value);
                }
                u32::MAX
            }
            _ => return Err(AccessError::Absent),
        };
        if value & !allowed != 0 {
            return Err(AccessError::Value);
        }
        if number == register::SELF_IPI {
            self.self_ipi(value as u8);
            return Ok(Effect::None);
        }
        self.write(number, value, now).ok_or(AccessError::Absent)
    }

    fn write_x2apic_icr(&mut self, value: u64) -> Result<Effect, AccessError> {
        if value as u32 & icr::RESERVED != 0 {
            return Err(AccessError::Value);
        }
        let command = Icr::from_bits_truncate(value as u32).difference(Icr::STATUS);
        self.icr = (value & !0xffff_ffff) | u64::from(command.bits());
        let to = Destination::x2apic((value >> 32) as u32, command.contains(Icr::LOGICAL));
        Ok(self.command(command, to))
    }

    /// Reads the register page. Registers are four bytes at multiples of sixteen; parts of one may be read.
    ///
    /// # Errors
    /// [`AccessError::Absent`] outside xAPIC mode or where no register is; [`AccessError::Width`] for what lies
    /// beyond a register's four bytes.
    #[expect(clippy::arithmetic_side_effects, reason = "parts of four bytes")]
    pub fn read_mmio(&mut self, offset: u16, width: Width, now: Ticks) -> Result<u64, AccessError> {
        let number = self.xapic_register(offset)?;
        let first = offset & 0xf;
        if u64::from(first) + width.bytes() > 4 {
            return Err(AccessError::Width);
        }
        let value = match number {
            register::ICR => self.icr as u32,
            register::ICR_HIGH => (self.icr >> 32) as u32,
            register::ID => self.id << 24,
            register::LDR => self.ldr,
            register::DFR => self.dfr,
            // Write-only, and of older processors: there is nothing to see.
            register::EOI | register::APR | register::RRD => 0,
            _ => match self.read(number, now) {
                Some(value) => value,
                None => return Err(self.illegal_register()),
            },
        };
        Ok(u64::from(value) >> (8 * first) & width.ones())
    }

    /// Writes the register page: four bytes at multiples of sixteen. Reserved bits and read-only registers stay as
    /// they are.
    ///
    /// # Errors
    /// As for [`Lapic::read_mmio`]; nothing was written.
    pub fn write_mmio(
        &mut self,
        offset: u16,
        width: Width,
        value: u64,
        now: Ticks,
    ) -> Result<Effect, AccessError> {
        let number = self.xapic_register(offset)?;
        if width != Width::B4 || offset & 0xf != 0 {
            return Err(AccessError::Width);
        }
        let value = value as u32;
        match number {
            register::ICR => {
                let command = Icr::from_bits_truncate(value).difference(Icr::STATUS);
                self.icr = (self.icr & !0xffff_ffff) | u64::from(command.bits());
                let to = Destination::xapic((self.icr >> 56) as u8, command.contains(Icr::LOGICAL));
                return Ok(self.command(command, to));
            }
            register::ICR_HIGH => {
                self.icr = (self.icr & 0xffff_ffff) | (u64::from(value & 0xff00_0000) << 32);
            }
            register::LDR => self.ldr = value & 0xff00_0000,
            register::DFR => self.dfr = value | 0x0fff_ffff,
            register::ID
            | register::VERSION
            | register::APR
            | register::PPR
            | register::RRD
            | register::ISR..register::ESR
            | register::TIMER_CURRENT => {}
            _ => {
                return match self.write(number, value, now) {
                    Some(effect) => Ok(effect),
                    None => Err(self.illegal_register()),
                };
            }
        }
        Ok(Effect::None)
    }

    fn x2apic_register(&self, msr: Msr) -> Result<u8, AccessError> {
        if self.mode != Mode::X2Apic {
            return Err(AccessError::Absent);
        }
        let distance = msr
            .0
            .checked_sub(X2APIC_FIRST.0)
            .ok_or(AccessError::Absent)?;
        u8::try_from(distance).map_err(|_| AccessError::Absent)
    }

    fn xapic_register(&self, offset: u16) -> Result<u8, AccessError> {
        if self.mode != Mode::XApic {
            return Err(AccessError::Absent);
        }
        u8::try_from(offset >> 4).map_err(|_| AccessError::Absent)
    }

    /// The registers that both modes read alike.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "each arm begins with the number that it takes away"
    )]
    fn read(&self, number: u8, now: Ticks) -> Option<u32> {
        if let Carried::Page(page) = self.carried
            && let Some(value) = self.read_page(page, number)
        {
            return Some(value);
        }
        Some(match number {
            register::VERSION => VERSION,
            register::TPR => self.tpr.into(),
            register::PPR => self.ppr.into(),
            register::SVR => self.svr.bits(),
            register::ISR..register::TMR => self.isr.register(number - register::ISR),
            register::TMR..register::IRR => self.tmr.register(number - register::TMR),
            register::IRR..register::ESR => self.irr.register(number - register::IRR),
            register::ESR => self.esr.bits(),
            register::LVT_TIMER..=register::LVT_ERROR => {
                self.lvt.get(number - register::LVT_TIMER)?.bits()
            }
            register::TIMER_INITIAL => self.timer.initial(),
            register::TIMER_CURRENT => self.timer.current(now),
            register::TIMER_DIVIDE => self.timer.divide(),
            _ => return None,
        })
    }

    /// The registers that both modes write alike; bits that they do not have are dropped.
    fn write(&mut self, number: u8, value: u32, now: Ticks) -> Option<Effect> {
        match number {
            register::EOI => return Some(self.end_of_interrupt()),
            register::TPR => self.set_tpr(value as u8),
            register::SVR => {
                self.svr = Svr::from_bits_truncate(value & SVR_WRITABLE);
                if !self.svr.contains(Svr::ENABLE) {
                    self.expire(now);
                    self.lvt.mask_all();
                }
            }
            register::ESR => {
                self.esr = self.errors;
                self.errors = Esr::empty();
            }
            register::LVT_TIMER..=register::LVT_ERROR => {
                // What was due before the change comes as it was set up then.
                self.expire(now);
                self.lvt
                    .set(number.wrapping_sub(register::LVT_TIMER), value);
                if !self.svr.contains(Svr::ENABLE) {
                    self.lvt.mask_all();
                }
                self.timer
                    .set_mode(super::timer::Mode::of(self.lvt.timer()));
            }
            register::TIMER_INITIAL => {
                self.expire(now);
                self.timer.set_initial(value, now);
            }
            register::TIMER_DIVIDE => {
                self.expire(now);
                self.timer.set_divide(value, now);
            }
            _ => return None,
        }
        Some(Effect::None)
    }

    pub(super) fn self_ipi(&mut self, vector: u8) {
        if vector < FIRST_VECTOR {
            self.fail(Esr::SEND_ILLEGAL_VECTOR);
        } else {
            self.accept(spec::Vector(vector), false);
        }
    }

    fn illegal_register(&mut self) -> AccessError {
        self.fail(Esr::ILLEGAL_REGISTER);
        AccessError::Absent
    }
}
