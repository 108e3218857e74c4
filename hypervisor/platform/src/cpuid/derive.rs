//! The answers that are computed, and the host's answers without what the guest could not use.

use super::table::{self, Row, Show};
use super::{Facts, MAX_BASIC, MAX_EXTENDED};
use spec::cpuid::{
    EAX, EBX, ECX, EDX, Extended1Edx, Leaf1Ecx, Leaf1Edx, Leaf7Ebx, Leaf7Ecx, Leaf7Edx,
    Leaf7Sub1Eax, Leaf7Sub1Edx, LeafDSub1Eax, Registers, XSTATE_ALIGNED, Xcr0, leaf,
};

/// The core crystal clock: the TSC's frequency divided by a power of two, so that it fits 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Crystal {
    pub(super) hz: u32,
    pub(super) shift: u32,
}

impl Crystal {
    fn of(tsc_hz: u64) -> Self {
        let beyond = u64::BITS
            .saturating_sub(tsc_hz.leading_zeros())
            .saturating_sub(u32::BITS);
        // The ratio must fit 32 bits as well: it would not from 2^63 Hz on.
        let shift = beyond.min(31);
        Self {
            hz: u32::try_from(tsc_hz >> shift).unwrap_or(u32::MAX),
            shift,
        }
    }
}

/// All that answers are made of.
pub struct Source<'a> {
    host: &'a dyn Fn(u32, u32) -> Registers,
    facts: Facts,
    max_basic: u32,
    max_extended: u32,
    pub(super) crystal: Crystal,
    pub(super) xcr0: Xcr0,
}

impl<'a> Source<'a> {
    pub(super) fn new(host: &'a dyn Fn(u32, u32) -> Registers, facts: Facts) -> Self {
        let mut source = Self {
            host,
            facts,
            max_basic: host(leaf::VENDOR, 0)[EAX],
            max_extended: host(leaf::EXTENDED, 0)[EAX],
            crystal: Crystal::of(facts.tsc.0),
            xcr0: Xcr0::empty(),
        };
        source.xcr0 = source.usable_xcr0();
        source
    }

    /// The host's answer, or zeroes for a leaf that it does not have: hardware answers with another leaf then.
    fn host(&self, leaf: u32, subleaf: u32) -> Registers {
        let max = if leaf >= leaf::EXTENDED {
            self.max_extended
        } else {
            self.max_basic
        };
        if leaf <= max {
            (self.host)(leaf, subleaf)
        } else {
            [0; 4]
        }
    }

    /// The states of XCR0 that host and policy have, each with those that it rests on.
    fn usable_xcr0(&self) -> Xcr0 {
        if self.host(leaf::FEATURES, 0)[ECX] & Leaf1Ecx::XSAVE.bits() == 0 {
            return Xcr0::empty();
        }
        let r = self.host(leaf::XSTATE, 0);
        let mut x = Xcr0::from_bits_truncate(u64::from(r[EAX]) | u64::from(r[EDX]) << 32);
        if !x.contains(Xcr0::X87 | Xcr0::SSE) {
            return Xcr0::empty();
        }
        if !x.contains(Xcr0::AVX512 | Xcr0::AVX) {
            x.remove(Xcr0::AVX512);
        }
        x
    }

    pub(super) fn answer(&self, row: &Row, subleaf: u32) -> Registers {
        match row.show {
            Show::Host(allow) => self.masked(row.leaf, subleaf, allow, [0; 4]),
            Show::HostAnd(allow, force) => self.masked(row.leaf, subleaf, allow, force),
            Show::Computed(f) => f(self, subleaf),
        }
    }

    #[expect(clippy::indexing_slicing, reason = "four registers each")]
    fn masked(&self, leaf: u32, subleaf: u32, allow: Registers, force: Registers) -> Registers {
        let host = self.host(leaf, subleaf);
        let useless = self.useless(leaf, subleaf);
        core::array::from_fn(|i| host[i] & allow[i] & !useless[i] | force[i])
    }

    /// Features whose state or whose VM-execution control is missing.
    fn useless(&self, leaf: u32, subleaf: u32) -> Registers {
        let mut r = [0; 4];
        let xsave = self.xcr0.contains(Xcr0::X87);
        let avx = self.xcr0.contains(Xcr0::AVX);
        let avx512 = self.xcr0.contains(Xcr0::AVX512);
        let mut hide = |register: usize, condition: bool, bits: u32| {
            if condition {
                for (_, r) in r.iter_mut().enumerate().filter(|(n, _)| *n == register) {
                    *r |= bits;
                }
            }
        };
        match (leaf, subleaf) {
            (leaf::FEATURES, _) => {
                use Leaf1Ecx as C;
                hide(ECX, !xsave, C::XSAVE.bits());
                hide(ECX, !avx, (C::AVX | C::FMA | C::F16C).bits());
            }
            (leaf::EXTENDED_FEATURES, 0) => {
                use {Leaf7Ebx as B, Leaf7Ecx as C, Leaf7Edx as D};
                hide(EBX, !self.facts.invpcid, B::INVPCID.bits());
                hide(ECX, !self.facts.rdtscp, C::RDPID.bits());
                hide(EBX, !avx, B::AVX2.bits());
                hide(ECX, !avx, (C::VAES | C::VPCLMULQDQ).bits());
                let b = B::AVX512F
                    | B::AVX512DQ
                    | B::AVX512_IFMA
                    | B::AVX512CD
                    | B::AVX512BW
                    | B::AVX512VL;
                hide(EBX, !avx512, b.bits());
                let c = C::AVX512_VBMI
                    | C::AVX512_VBMI2
                    | C::AVX512_VNNI
                    | C::AVX512_BITALG
                    | C::AVX512_VPOPCNTDQ;
                hide(ECX, !avx512, c.bits());
                hide(
                    EDX,
                    !avx512,
                    (D::AVX512_VP2INTERSECT | D::AVX512_FP16).bits(),
                );
            }
            (leaf::EXTENDED_FEATURES, 1) => {
                use {Leaf7Sub1Eax as A, Leaf7Sub1Edx as D};
                hide(
                    EAX,
                    !avx,
                    (A::AVX_VNNI | A::AVX_IFMA | A::SHA512 | A::SM3 | A::SM4).bits(),
                );
                hide(
                    EDX,
                    !avx,
                    (D::AVX_VNNI_INT8 | D::AVX_NE_CONVERT | D::AVX_VNNI_INT16).bits(),
                );
                hide(EAX, !avx512, A::AVX512_BF16.bits());
            }
            (leaf::EXTENDED_1, _) => hide(EDX, !self.facts.rdtscp, Extended1Edx::RDTSCP.bits()),
            _ => {}
        }
        r
    }

    /// Bits of an APIC id that tell the vCPUs of a guest from each other.
    fn id_bits(&self) -> u32 {
        u32::from(self.facts.vcpus.max(1))
            .next_power_of_two()
            .trailing_zeros()
    }
}

pub(super) fn vendor(s: &Source<'_>, _: u32) -> Registers {
    let [_, ebx, ecx, edx] = s.host(leaf::VENDOR, 0);
    [MAX_BASIC, ebx, ecx, edx]
}

pub(super) fn extended(_: &Source<'_>, _: u32) -> Registers {
    [MAX_EXTENDED, 0, 0, 0]
}

pub(super) fn features(s: &Source<'_>, _: u32) -> Registers {
    let (allow, force) = table::FEATURES;
    let mut r = s.masked(leaf::FEATURES, 0, allow, force);
    if s.facts.vcpus > 1 {
        // EBX 23:16: ids that the package has room for.
        r[EBX] |= (1 << s.id_bits()).min(255) << 16;
        r[EDX] |= Leaf1Edx::HTT.bits();
    }
    r
}

pub(super) fn caches(s: &Source<'_>, subleaf: u32) -> Registers {
    let [eax, ebx, ecx, edx] = s.host(leaf::CACHES, subleaf);
    if eax & 0x1f == 0 {
        return [0; 4];
    }
    // EAX 25:14: ids that share the cache, less one; 31:26: cores in the package, less one.
    let others = (1_u32 << s.id_bits()).wrapping_sub(1);
    let level = eax >> 5 & 7;
    let sharing = if level >= 3 { others } else { 0 };
    [
        eax & 0x3fff | sharing << 14 | others.min(63) << 26,
        ebx,
        ecx,
        edx,
    ]
}

pub(super) fn extended_features(s: &Source<'_>, _: u32) -> Registers {
    let (allow, force) = table::EXTENDED_FEATURES;
    let mut r = s.masked(leaf::EXTENDED_FEATURES, 0, allow, force);
    r[EAX] = r[EAX].min(1);
    r
}

pub(super) fn topology(s: &Source<'_>, subleaf: u32) -> Registers {
    const SMT: u32 = 1;
    const CORE: u32 = 2;
    match subleaf {
        0 => [0, 1, SMT << 8, 0],
        _ => [s.id_bits(), s.facts.vcpus.max(1).into(), CORE << 8, 0],
    }
}

pub(super) fn xstate(s: &Source<'_>, subleaf: u32) -> Registers {
    let states = s.xcr0.bits();
    match subleaf {
        _ if s.xcr0.is_empty() => [0; 4],
        0 => [
            states as u32,
            0,
            xsave_size(|n| s.host(leaf::XSTATE, n), states, false),
            0,
        ],
        1 => {
            let mut allow = LeafDSub1Eax::XSAVEOPT | LeafDSub1Eax::XGETBV1;
            if s.facts.xsaves {
                allow |= LeafDSub1Eax::XSAVEC | LeafDSub1Eax::XSAVES;
            }
            [s.host(leaf::XSTATE, 1)[EAX] & allow.bits(), 0, 0, 0]
        }
        n if states & 1 << n != 0 => {
            let [size, offset, ecx, _] = s.host(leaf::XSTATE, n);
            [size, offset, ecx & XSTATE_ALIGNED, 0]
        }
        _ => [0; 4],
    }
}

/// Bytes of an XSAVE area that holds `states`, by the host's sizes, offsets and alignments in `leaf_d`
/// (SDM vol. 1, "Standard Format" and "Compacted Format" of the XSAVE area).
pub(super) fn xsave_size(leaf_d: impl Fn(u32) -> Registers, states: u64, compacted: bool) -> u32 {
    const LEGACY_AND_HEADER: u32 = 512 + 64;
    let mut end = LEGACY_AND_HEADER;
    for n in (2..8).filter(|n| states & 1 << n != 0) {
        let [size, offset, ecx, _] = leaf_d(n);
        end = if compacted {
            let aligned = if ecx & XSTATE_ALIGNED != 0 {
                end.saturating_add(63) & !63
            } else {
                end
            };
            aligned.saturating_add(size)
        } else {
            end.max(offset.saturating_add(size))
        };
    }
    end
}

pub(super) fn tsc(s: &Source<'_>, _: u32) -> Registers {
    // TSC frequency = ECX * EBX / EAX.
    [1, 1 << s.crystal.shift, s.crystal.hz, 0]
}

pub(super) fn frequency(s: &Source<'_>, _: u32) -> Registers {
    // EAX base, EBX maximum, ECX bus, in MHz, 16 bits each.
    const BUS_MHZ: u32 = 100;
    let mhz = (s.facts.tsc.0 / 1_000_000).min(0xffff) as u32;
    [mhz, mhz, BUS_MHZ, 0]
}

pub(super) fn address_sizes(s: &Source<'_>, _: u32) -> Registers {
    let eax = s.host(leaf::ADDRESS_SIZES, 0)[EAX];
    let physical = (eax & 0xff).clamp(36, 52);
    let linear = (eax >> 8 & 0xff).min(48);
    [physical | linear << 8, 0, 0, 0]
}
