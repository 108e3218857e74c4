//! Registers that the guest owns while its core runs it, and that no VM entry or exit switches.
// UNSAFETY: WRMSR to registers that the hypervisor itself never uses, and moves to debug registers.
#![allow(unsafe_code)]

use crate::{control, hygiene, msr};
use core::arch::asm;
use spec::Msr;
use spec::cpuid::{EDX, Leaf7Edx, leaf};
use spec::msr::{CSTAR, FMASK, KERNEL_GS_BASE, LSTAR, SPEC_CTRL, STAR, TSC_AUX};

/// MSRs that every processor has and every guest writes without an exit.
const ALWAYS: [Msr; 5] = [STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE];

/// DR6 after reset and INIT (SDM vol. 3, "Processor State After Reset").
const DR6_RESET: u64 = 0xffff_0ff0;

/// What moves with a vCPU besides its control structure, its general registers and its extended state.
///
/// FS, GS and SYSENTER bases, EFER, PAT, CR0, CR3, CR4 and DR7 are in the VMCS. PRED_CMD keeps nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestRegisters {
    always: [u64; ALWAYS.len()],
    /// Where the guest has it
    tsc_aux: Option<u64>,
    /// Where the processor has it; not looked at where entries and exits switch it: then it is in [`crate::entry::Registers`]
    spec_ctrl: Option<u64>,
    /// DR0 to DR3
    breakpoints: [u64; 4],
    dr6: u64,
    cr2: u64,
    xcr0: u64,
}

impl GuestRegisters {
    /// The values after reset. `has_tsc_aux`: the guest has RDTSCP, and so IA32_TSC_AUX.
    #[must_use]
    pub fn reset_state(has_tsc_aux: bool) -> Self {
        Self::after_reset(has_tsc_aux, has_spec_ctrl())
    }

    fn after_reset(has_tsc_aux: bool, has_spec_ctrl: bool) -> Self {
        Self {
            always: [0; ALWAYS.len()],
            tsc_aux: has_tsc_aux.then_some(0),
            spec_ctrl: has_spec_ctrl.then_some(0),
            breakpoints: [0; 4],
            dr6: DR6_RESET,
            cr2: 0,
            xcr0: 1,
        }
    }

    /// Takes them out of this core.
    ///
    /// # Safety
    /// The core holds those of the vCPU whose place this is; `has_tsc_aux` was true only if the processor has RDTSCP.
    pub unsafe fn save(&mut self) {
        // SAFETY: every 64-bit processor has those of `ALWAYS`, and this one the others where there is a place for them.
        unsafe {
            for (value, register) in self.always.iter_mut().zip(ALWAYS) {
                *value = msr::read(register);
            }
            if let Some(value) = self.tsc_aux.as_mut() {
                *value = msr::read(TSC_AUX);
            }
            if let Some(value) = self.spec_ctrl.as_mut()
                && !hygiene::switches_spec_ctrl()
            {
                *value = msr::read(SPEC_CTRL);
            }
        }
        self.breakpoints = breakpoints();
        self.dr6 = control::dr6();
        self.cr2 = control::cr2();
        self.xcr0 = control::xcr0();
    }

    /// Puts them into this core: all of them, so that nothing is left of whoever was there before.
    ///
    /// # Safety
    /// As for [`GuestRegisters::save`]; the registers of the vCPU that was there before were saved, or are not needed.
    pub unsafe fn load(&self) {
        // SAFETY: as in `save`; the values were in these registers before, or are those after reset; the hypervisor has no user
        // mode, and asks nothing of a SPEC_CTRL that entries and exits do not switch.
        unsafe {
            for (value, register) in self.always.into_iter().zip(ALWAYS) {
                msr::write(register, value);
            }
            if let Some(value) = self.tsc_aux {
                msr::write(TSC_AUX, value);
            }
            if let Some(value) = self.spec_ctrl
                && !hygiene::switches_spec_ctrl()
            {
                msr::write(SPEC_CTRL, value);
            }
        }
        set_breakpoints(self.breakpoints);
        control::set_dr6(self.dr6);
        control::set_cr2(self.cr2);
        control::set_xcr0(self.xcr0);
    }
}

/// Sets them in this core to their values after reset, so that a guest sees nothing of whoever ran before.
pub fn reset(has_tsc_aux: bool) {
    // SAFETY: TSC_AUX is where the caller says; whoever was there before is not served any more.
    unsafe { GuestRegisters::reset_state(has_tsc_aux).load() };
}

/// Sets debug registers and CR2 in this core to their values after INIT, which leaves the MSRs and XCR0 alone (SDM vol. 3,
/// "Processor State After Reset").
pub fn init_debug_registers() {
    set_breakpoints([0; 4]);
    control::set_dr6(DR6_RESET);
    control::set_cr2(0);
}

fn breakpoints() -> [u64; 4] {
    let [a, b, c, d]: [u64; 4];
    // SAFETY: reading a debug register has no effect; the host never sets DR7.GD.
    unsafe {
        asm!(
            "mov {a}, dr0", "mov {b}, dr1", "mov {c}, dr2", "mov {d}, dr3",
            a = out(reg) a, b = out(reg) b, c = out(reg) c, d = out(reg) d,
            options(nomem, nostack, preserves_flags)
        );
    }
    [a, b, c, d]
}

fn set_breakpoints([a, b, c, d]: [u64; 4]) {
    // SAFETY: DR7 is 0x400 in root operation, so no breakpoint is enabled.
    unsafe {
        asm!(
            "mov dr0, {a}", "mov dr1, {b}", "mov dr2, {c}", "mov dr3, {d}",
            a = in(reg) a, b = in(reg) b, c = in(reg) c, d = in(reg) d,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Whether there is IA32_SPEC_CTRL (SDM vol. 4, table of architectural MSRs).
fn has_spec_ctrl() -> bool {
    let shown = match crate::cpuid::leaf(leaf::VENDOR, 0)[0] {
        leaf::EXTENDED_FEATURES.. => crate::cpuid::leaf(leaf::EXTENDED_FEATURES, 0)[EDX],
        _ => 0,
    };
    Leaf7Edx::from_bits_retain(shown).intersects(Leaf7Edx::IBRS | Leaf7Edx::STIBP | Leaf7Edx::SSBD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::msr::{Rights, Served, TABLE};
    use spec::msr::{FS_BASE, GS_BASE, PRED_CMD, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP};

    #[test]
    fn whatever_a_guest_writes_without_an_exit_moves_with_its_vcpu() {
        let in_vmcs = [FS_BASE, GS_BASE, SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP];
        let mut seen = 0;
        for row in TABLE {
            let Served::Direct(rights) = row.served else {
                continue;
            };
            if !rights.contains(Rights::WRITE) || in_vmcs.contains(&row.msr) || row.msr == PRED_CMD
            {
                continue;
            }
            let moves = ALWAYS.contains(&row.msr) || [TSC_AUX, SPEC_CTRL].contains(&row.msr);
            assert!(moves, "{:?} stays behind", row.msr);
            seen += 1;
        }
        assert_eq!(seen, ALWAYS.len() + 2, "no more is moved than guests have");
    }

    #[test]
    fn optional_registers_are_touched_only_where_they_are() {
        let none = GuestRegisters::after_reset(false, false);
        assert_eq!((none.tsc_aux, none.spec_ctrl), (None, None));
        let both = GuestRegisters::after_reset(true, true);
        assert_eq!((both.tsc_aux, both.spec_ctrl), (Some(0), Some(0)));
        assert_eq!((both.dr6, both.xcr0), (0xffff_0ff0, 1));
    }
}
