//! Vector registers, which no code of the guests uses but what is here.
// UNSAFETY: instructions on vector registers, CR4 and XCR0.
#![allow(unsafe_code)]

use crate::cpu;
use core::arch::asm;
use spec::cpu::Cr4;
use spec::cpuid::{EAX, ECX, Leaf1Ecx, Xcr0, leaf};

/// How wide the registers are that are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 16 of 128 bits
    Xmm,
    /// 16 of 256 bits
    Ymm,
    /// 32 of 512 bits, and eight masks
    Zmm,
}

impl Width {
    /// The one with this number.
    #[must_use]
    pub const fn from_number(number: u64) -> Width {
        match number {
            0 => Width::Xmm,
            1 => Width::Ymm,
            _ => Width::Zmm,
        }
    }

    /// Registers, and eight-byte places of each.
    const fn shape(self) -> (usize, usize) {
        match self {
            Width::Xmm => (16, 2),
            Width::Ymm => (16, 4),
            Width::Zmm => (32, 8),
        }
    }
}

const MASKS: usize = 32 * 8;

/// A place for all registers, the widest: 64 bytes for each, and then the masks.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Area([u64; MASKS + 8]);

impl Default for Area {
    fn default() -> Self {
        Self::new()
    }
}

impl Area {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Area([0; MASKS + 8])
    }

    /// Fills each place with what `value` gives for it.
    pub fn fill(&mut self, value: impl Fn(usize) -> u64) {
        for (n, place) in self.0.iter_mut().enumerate() {
            // Masks of 16 bits are what every processor with masks has.
            *place = value(n) & if n < MASKS { u64::MAX } else { 0xffff };
        }
    }

    /// The first place of registers so wide in which another differs.
    #[must_use]
    pub fn differs(&self, other: &Area, width: Width) -> Option<usize> {
        let (registers, places) = width.shape();
        let masks = if width == Width::Zmm {
            MASKS..MASKS + 8
        } else {
            0..0
        };
        let counts =
            (0..registers).flat_map(|register| (0..places).map(move |place| 8 * register + place));
        counts.chain(masks).find(|&n| self.0[n] != other.0[n])
    }
}

macro_rules! each {
    ($instruction:literal, $register:literal, $area:expr, $($n:literal)*) => {
        asm!($(concat!($instruction, "[{area} + 64 * ", $n, "], ", $register, $n)),*, area = in(reg) $area, options(nostack))
    };
    (load $instruction:literal, $register:literal, $area:expr, $($n:literal)*) => {
        asm!($(concat!($instruction, $register, $n, ", [{area} + 64 * ", $n, "]")),*, area = in(reg) $area, options(nostack))
    };
}

/// Loads the registers.
///
/// # Safety
/// [`enable`] has run here, and the processor has them.
pub unsafe fn load(area: &Area, width: Width) {
    let at = &raw const area.0;
    // SAFETY: per contract; the area is large enough.
    unsafe {
        match width {
            Width::Xmm => each!(load "movups ", "xmm", at, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
            Width::Ymm => each!(load "vmovups ", "ymm", at, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
            Width::Zmm => {
                each!(load "vmovups ", "zmm", at, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26
                    27 28 29 30 31);
                let masks = &raw const area.0[MASKS];
                asm!("kmovw k0, [{m}]; kmovw k1, [{m} + 8]; kmovw k2, [{m} + 16]; kmovw k3, [{m} + 24]",
                    "kmovw k4, [{m} + 32]; kmovw k5, [{m} + 40]; kmovw k6, [{m} + 48]; kmovw k7, [{m} + 56]",
                    m = in(reg) masks, options(nostack));
            }
        }
    }
}

/// Stores the registers.
///
/// # Safety
/// As for [`load`].
pub unsafe fn store(area: &mut Area, width: Width) {
    let at = &raw mut area.0;
    // SAFETY: per contract; the area is large enough.
    unsafe {
        match width {
            Width::Xmm => each!("movups ", "xmm", at, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
            Width::Ymm => each!("vmovups ", "ymm", at, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
            Width::Zmm => {
                each!("vmovups ", "zmm", at, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
                    28 29 30 31);
                let masks = &raw mut area.0[MASKS];
                asm!("kmovw [{m}], k0; kmovw [{m} + 8], k1; kmovw [{m} + 16], k2; kmovw [{m} + 24], k3",
                    "kmovw [{m} + 32], k4; kmovw [{m} + 40], k5; kmovw [{m} + 48], k6; kmovw [{m} + 56], k7",
                    m = in(reg) masks, options(nostack));
            }
        }
    }
}

/// Whether there is XSAVE, and so XCR0.
#[must_use]
pub fn has_xsave() -> bool {
    cpu::cpuid(leaf::FEATURES, 0)[ECX] & Leaf1Ecx::XSAVE.bits() != 0
}

/// What XCR0 can be at most.
#[must_use]
pub fn most() -> u64 {
    if has_xsave() {
        cpu::cpuid(leaf::XSTATE, 0)[EAX].into()
    } else {
        (Xcr0::X87 | Xcr0::SSE).bits()
    }
}

/// The widths that the processor has.
pub fn widths() -> impl Iterator<Item = Width> {
    let most = Xcr0::from_bits_retain(most());
    [
        (Width::Xmm, Xcr0::SSE),
        (Width::Ymm, Xcr0::AVX),
        (Width::Zmm, Xcr0::AVX512),
    ]
    .into_iter()
    .filter(move |(_, needs)| most.contains(*needs))
    .map(|(width, _)| width)
}

/// Switches all of them on, on this processor.
pub fn enable() {
    let cr4 = Cr4::OSFXSR
        | Cr4::OSXMMEXCPT
        | if has_xsave() {
            Cr4::OSXSAVE
        } else {
            Cr4::empty()
        };
    // SAFETY: nothing else here uses these registers.
    unsafe { asm!("mov cr4, {}", in(reg) cpu::cr4() | cr4.bits(), options(nostack)) };
    if has_xsave() {
        set_xcr0(most());
    }
}

/// XCR0
#[must_use]
pub fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register; `enable` has run here.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes XCR0: of what the processor has, what does not contradict itself.
pub fn set_xcr0(value: u64) {
    // SAFETY: as in `enable`; what is wrong faults.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack))
    };
}
