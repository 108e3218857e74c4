//! A vCPU's extended state (x87, SSE, AVX and on) while its core runs another one.
// UNSAFETY: XSAVE, XRSTOR, FXSAVE, FXRSTOR.
#![allow(unsafe_code)]

use crate::{control, cpuid};
use alloc::boxed::Box;
use alloc::vec;
use core::arch::asm;
use spec::cpuid::{EAX, EBX, ECX, EDX, Leaf1Ecx, LeafDSub1Eax, leaf};

/// Bytes of the legacy region, which is what FXSAVE writes, and of the header behind it (SDM vol. 1, "XSAVE Area").
const LEGACY: usize = 512;
const HEADER: usize = 64;
/// Where the legacy region has FCW and MXCSR, and what they are after FNINIT and a reset.
const FCW: (usize, [u8; 2]) = (0, 0x37f_u16.to_le_bytes());
const MXCSR: (usize, [u8; 4]) = (24, 0x1f80_u32.to_le_bytes());

/// A cache line: XSAVE wants its area aligned to it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// How state is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// There is no XSAVE.
    Fxsave,
    Xsave,
    /// XSAVE that leaves out what is in its initial state, or unchanged since it was restored from the same area
    Xsaveopt,
}

/// What CPUID says of extended state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    way: Way,
    /// Every component of user state that the processor has: what any guest may enable in XCR0
    components: u64,
    /// Bytes of an area with all of them, in the standard format
    size: usize,
}

impl Layout {
    fn new(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Self {
        let features = Leaf1Ecx::from_bits_retain(cpuid(leaf::FEATURES, 0)[ECX]);
        if !features.contains(Leaf1Ecx::XSAVE) || cpuid(leaf::VENDOR, 0)[EAX] < leaf::XSTATE {
            return Self {
                way: Way::Fxsave,
                components: 0,
                size: LEGACY,
            };
        }
        // EBX is the size for what XCR0 has at this moment, ECX that for all.
        let all = cpuid(leaf::XSTATE, 0);
        let forms = LeafDSub1Eax::from_bits_retain(cpuid(leaf::XSTATE, 1)[EAX]);
        Self {
            way: if forms.contains(LeafDSub1Eax::XSAVEOPT) {
                Way::Xsaveopt
            } else {
                Way::Xsave
            },
            components: u64::from(all[EAX]) | u64::from(all[EDX]) << 32,
            size: (all[ECX].max(all[EBX]) as usize).max(LEGACY + HEADER),
        }
    }
}

/// A place for the whole extended state of a vCPU. It is moved eagerly, at each change of vCPU, and never by a trap that CR0.TS
/// sets, through which speculation could read another's (Intel, "Lazy FP State Restore").
///
/// XSAVES is not used: no guest is shown supervisor state, so IA32_XSS stays zero and there is none to move; and the compacted
/// format would be one form more.
#[derive(Debug)]
pub struct ExtendedState {
    area: Box<[Line]>,
    layout: Layout,
}

impl Default for ExtendedState {
    fn default() -> Self {
        Self::new()
    }
}

impl ExtendedState {
    /// The state after reset.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Layout::new(cpuid::leaf))
    }

    fn with(layout: Layout) -> Self {
        let mut state = Self {
            area: vec![Line([0; 64]); layout.size.div_ceil(64)].into_boxed_slice(),
            layout,
        };
        state.reset();
        state
    }

    /// Goes back to the state after reset, without a new allocation.
    #[expect(
        clippy::indexing_slicing,
        reason = "two fields of the legacy region's first 64 bytes"
    )]
    pub fn reset(&mut self) {
        self.area.fill(Line([0; 64]));
        // A header of zeroes has XRSTOR initialise every component, but MXCSR, which it loads all the same (SDM vol. 1,
        // "Operation of XRSTOR"). FXRSTOR loads all that it finds; a tag word of zero says that the x87 stack is empty.
        if let Some(Line(first)) = self.area.first_mut() {
            first[FCW.0..FCW.0 + FCW.1.len()].copy_from_slice(&FCW.1);
            first[MXCSR.0..MXCSR.0 + MXCSR.1.len()].copy_from_slice(&MXCSR.1);
        }
    }

    /// Takes the state out of this core. XCR0 must be read before: it is set to all components for this, or what the guest has
    /// switched off for the moment would stay behind.
    ///
    /// # Safety
    /// The core holds the state of the vCPU whose place this is. If this place was used before, the state was restored
    /// from it and the place not changed since.
    pub unsafe fn save(&mut self) {
        let Layout {
            way, components, ..
        } = self.layout;
        let area = self.area.as_mut_ptr();
        let (low, high) = (components as u32, (components >> 32) as u32);
        // SAFETY: the area is aligned, and large enough for all components in XCR0; CR4.OSFXSR and OSXSAVE are set by
        // `control::harden` where CPUID shows them.
        unsafe {
            match way {
                Way::Fxsave => {
                    asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags))
                }
                Way::Xsave => {
                    control::set_xcr0(components);
                    asm!("xsave64 [{}]", in(reg) area, in("eax") low, in("edx") high,
                        options(nostack, preserves_flags));
                }
                Way::Xsaveopt => {
                    control::set_xcr0(components);
                    asm!("xsaveopt64 [{}]", in(reg) area, in("eax") low, in("edx") high,
                        options(nostack, preserves_flags));
                }
            }
        }
    }

    /// Puts the state into this core, all of it, so that nothing is left of whoever was there before. XCR0 is that of all
    /// components afterwards: the caller sets the guest's.
    ///
    /// # Safety
    /// Nothing in this core's extended registers is needed any more.
    pub unsafe fn restore(&self) {
        let Layout {
            way, components, ..
        } = self.layout;
        let area = self.area.as_ptr();
        // SAFETY: as in `save`; the area holds what the processor has written there, or what `reset` has, which both restore
        // without a fault. The target is soft-float, so no live Rust value is in these registers.
        unsafe {
            if way == Way::Fxsave {
                asm!("fxrstor64 [{}]", in(reg) area, options(nostack, readonly, preserves_flags));
            } else {
                control::set_xcr0(components);
                asm!("xrstor64 [{}]", in(reg) area, in("eax") components as u32,
                    in("edx") (components >> 32) as u32, options(nostack, readonly, preserves_flags));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves 0, 1, 0xD.0 and 0xD.1.
    fn machine(last: u32, xsave: bool, all: [u32; 4], forms: u32) -> impl Fn(u32, u32) -> [u32; 4] {
        move |leaf, subleaf| match (leaf, subleaf) {
            (0, _) => [last, 0, 0, 0],
            (1, _) => [0, 0, u32::from(xsave) << 26, 0],
            (0xd, 0) => all,
            (0xd, 1) => [forms, 0, 0, 0],
            _ => [0; 4],
        }
    }

    #[test]
    fn every_component_has_a_place() {
        // Sapphire Rapids: x87, SSE, AVX, AVX-512, PKRU, and AMX with its tiles of 8 KiB.
        let layout = Layout::new(machine(0x20, true, [0x602e7, 576, 11008, 0], 0x1f));
        assert_eq!(
            layout,
            Layout {
                way: Way::Xsaveopt,
                components: 0x602e7,
                size: 11008
            }
        );
        let state = ExtendedState::with(layout);
        assert_eq!(size_of_val(&*state.area), 11008);
        assert!((state.area.as_ptr() as usize).is_multiple_of(64));
    }

    #[test]
    fn the_form_is_one_that_the_processor_has() {
        let way = |of| Layout::new(of).way;
        assert_eq!(way(machine(0xd, true, [7, 832, 832, 0], 0)), Way::Xsave);
        assert_eq!(way(machine(0xd, true, [7, 832, 832, 0], 1)), Way::Xsaveopt);
        assert_eq!(way(machine(0xd, false, [0; 4], 0)), Way::Fxsave);
        assert_eq!(way(machine(0xb, true, [7, 832, 832, 0], 1)), Way::Fxsave);
    }

    #[test]
    fn a_new_place_holds_the_state_after_reset() {
        let mut state = ExtendedState::with(Layout::new(machine(0xd, true, [7, 832, 832, 0], 0)));
        state.area.fill(Line([0x5a; 64]));
        state.reset();
        let mut first = [0; 64];
        first[..2].copy_from_slice(&[0x7f, 0x03]);
        first[24..28].copy_from_slice(&[0x80, 0x1f, 0, 0]);
        assert_eq!(state.area[0].0, first);
        assert!(state.area[1..].iter().all(|line| line.0 == [0; 64]));
    }
}
