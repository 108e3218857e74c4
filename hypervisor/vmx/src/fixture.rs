//! Processors, hosts and guests for the tests.

use crate::fake::MapVmcs;
use crate::{Capabilities, Controls, HostState, Pointers, Setup, Vcpu, Wants, controls, setup};
use spec::cpu::{Cr0, Cr4, Efer, Gprs, Segment, TableRegister};
use spec::ept::Eptp;
use spec::memory_type::MemoryType;
use spec::state::StartState;
use spec::vmx_msr::EptVpidCap;
use spec::{Hpa, Msr};

/// Capability MSRs of one processor.
pub(crate) type Processor = &'static [(u32, u64)];

/// Core i7-3960X (Sandy Bridge-E), as read from one.
pub(crate) const SANDY_BRIDGE: Processor = &[
    (0x480, 0x00da_0400_0000_0010),
    (0x481, 0x7f_0000_0016),
    (0x482, 0xfff9_fffe_0401_e172),
    (0x483, 0x007f_ffff_0003_6dff),
    (0x484, 0xffff_0000_11ff),
    (0x485, 0x1004_01e5),
    (0x486, 0x8000_0021),
    (0x487, 0xffff_ffff),
    (0x488, 0x2000),
    (0x489, 0x6_27ff),
    (0x48b, 0x04ff_0000_0000),
    (0x48c, 0x0f01_0613_4141),
    (0x48d, 0x7f_0000_0016),
    (0x48e, 0xfff9_fffe_0400_6172),
    (0x48f, 0x007f_ffff_0003_6dfb),
    (0x490, 0xffff_0000_11fb),
];

/// Core i7-6700K (Skylake), as read from one.
pub(crate) const SKYLAKE: Processor = &[
    (0x480, 0x00da_0400_0000_0004),
    (0x481, 0x7f_0000_0016),
    (0x482, 0xfff9_fffe_0401_e172),
    (0x483, 0x01ff_ffff_0003_6dff),
    (0x484, 0x3_ffff_0000_11ff),
    (0x485, 0x7004_c1e7),
    (0x486, 0x8000_0021),
    (0x487, 0xffff_ffff),
    (0x488, 0x2000),
    (0x489, 0x37_27ff),
    (0x48b, 0x001f_fcff_0000_0000),
    (0x48c, 0x0f01_0633_4141),
    (0x48d, 0x7f_0000_0016),
    (0x48e, 0xfff9_fffe_0400_6172),
    (0x48f, 0x01ff_ffff_0003_6dfb),
    (0x490, 0x3_ffff_0000_11fb),
];

/// A Broadwell with APIC virtualization, and without posted interrupts.
pub(crate) const BROADWELL: Processor = &[
    (0x480, 0x00da_0400_0000_0012),
    (0x481, 0x7f_0000_0016),
    (0x482, 0xfff9_fffe_0401_e172),
    (0x483, 0x007f_ffff_0003_6dff),
    (0x484, 0xffff_0000_11ff),
    (0x485, 0x3004_81e5),
    (0x486, 0x8000_0021),
    (0x487, 0xffff_ffff),
    (0x488, 0x2000),
    (0x489, 0x37_67ff),
    (0x48b, 0x0005_7fff_0000_0000),
    (0x48c, 0x0f01_0633_4141),
    (0x48d, 0x7f_0000_0016),
    (0x48e, 0xfff9_fffe_0400_6172),
    (0x48f, 0x007f_ffff_0003_6dfb),
    (0x490, 0xffff_0000_11fb),
];

/// Core i7-7800X (Skylake-X), which has posted interrupts.
pub(crate) const SKYLAKE_X: Processor = &[
    (0x480, 0x00da_0400_0000_0004),
    (0x481, 0xff_0000_0016),
    (0x482, 0xfff9_fffe_0401_e172),
    (0x483, 0x01ff_ffff_0003_6dff),
    (0x484, 0x3_ffff_0000_11ff),
    (0x485, 0x7004_c1e7),
    (0x486, 0x8000_0021),
    (0x487, 0xffff_ffff),
    (0x488, 0x2000),
    (0x489, 0x37_27ff),
    (0x48b, 0x025d_3fff_0000_0000),
    (0x48c, 0x0f01_0673_4141),
    (0x48d, 0xff_0000_0016),
    (0x48e, 0xfff9_fffe_0400_6172),
    (0x48f, 0x01ff_ffff_0003_6dfb),
    (0x490, 0x3_ffff_0000_11fb),
];

/// Reads like a processor: an MSR that it has not raises #GP.
pub(crate) fn reader(msrs: Processor) -> impl Fn(Msr) -> u64 {
    changed(msrs, &[])
}

/// A processor whose MSRs named in `changes` read otherwise.
pub(crate) fn changed(msrs: Processor, changes: &'static [(u32, u64)]) -> impl Fn(Msr) -> u64 {
    move |msr| {
        changes
            .iter()
            .chain(msrs)
            .find(|(number, _)| *number == msr.0)
            .unwrap_or_else(|| panic!("RDMSR of {msr:?}"))
            .1
    }
}

pub(crate) fn capabilities() -> Capabilities {
    Capabilities::new(reader(SKYLAKE))
}

pub(crate) const HOST: HostState = HostState {
    cr0: 0x8005_0033,
    cr3: 0x10_0000,
    cr4: Cr4::PAE.bits() | Cr4::VMXE.bits() | Cr4::MCE.bits(),
    es: 0,
    cs: 8,
    ss: 0,
    ds: 0,
    fs: 0,
    gs: 0,
    tr: 0x18,
    fs_base: 0,
    gs_base: 0xffff_8000_0000_1000,
    tr_base: 0xffff_8000_0000_2000,
    gdtr_base: 0xffff_8000_0000_3000,
    idtr_base: 0xffff_8000_0000_4000,
    sysenter_cs: 0,
    sysenter_esp: 0,
    sysenter_eip: 0,
    rsp: 0xffff_8000_0000_8000,
    rip: 0xffff_8000_0001_0000,
    efer: Efer::LME.bits() | Efer::LMA.bits() | Efer::NXE.bits(),
    pat: 0x0007_0406_0007_0406,
};

const UNUSABLE: Segment = Segment {
    selector: 0,
    base: 0,
    limit: 0,
    rights: Segment::UNUSABLE,
};

const fn flat(selector: u16, rights: u32) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: 0xffff_ffff,
        rights,
    }
}

/// After reset (SDM vol. 3, "Processor State After Reset").
pub(crate) fn real_start() -> StartState {
    let data = Segment {
        selector: 0,
        base: 0,
        limit: 0xffff,
        rights: 0x93,
    };
    let cs = Segment {
        selector: 0xf000,
        base: 0xffff_0000,
        limit: 0xffff,
        rights: 0x9b,
    };
    StartState {
        gprs: Gprs::default(),
        rip: 0xfff0,
        rflags: 2,
        cr0: (Cr0::CD | Cr0::NW | Cr0::ET).bits(),
        cr3: 0,
        cr4: 0,
        efer: 0,
        segments: [data, cs, data, data, data, data],
        tr: Segment {
            rights: 0x8b,
            ..data
        },
        ldtr: Segment {
            rights: 0x82,
            ..data
        },
        gdtr: TableRegister {
            base: 0,
            limit: 0xffff,
        },
        idtr: TableRegister {
            base: 0,
            limit: 0xffff,
        },
    }
}

/// Flat 32-bit segments, no paging.
pub(crate) fn protected_start() -> StartState {
    let data = flat(0x10, 0xc093);
    StartState {
        rip: 0x10_0000,
        cr0: (Cr0::PE | Cr0::ET).bits(),
        segments: [data, flat(8, 0xc09b), data, data, data, data],
        ldtr: UNUSABLE,
        ..real_start()
    }
}

/// 64-bit mode.
pub(crate) fn long_start() -> StartState {
    let data = flat(0x10, 0xc093);
    StartState {
        rip: 0x20_0000,
        cr0: (Cr0::PE | Cr0::PG | Cr0::ET | Cr0::NE | Cr0::WP).bits(),
        cr3: 0x1000,
        cr4: Cr4::PAE.bits(),
        efer: (Efer::LME | Efer::LMA).bits(),
        segments: [data, flat(8, 0xa09b), data, data, data, data],
        ldtr: UNUSABLE,
        ..real_start()
    }
}

/// What the guest changes without an exit, in these tests.
pub(crate) const GUEST_CR4: u64 =
    Cr4::PAE.bits() | Cr4::PGE.bits() | Cr4::PSE.bits() | Cr4::TSD.bits();

fn pointers(capabilities: &Capabilities) -> Pointers {
    let flags = capabilities.ept_vpid.contains(EptVpidCap::ACCESSED_DIRTY);
    Pointers {
        eptp: Eptp::new(Hpa(0x20_0000), MemoryType::WriteBack, flags),
        msr_bitmap: Hpa(0x30_0000),
        io_bitmap_a: Hpa(0x30_1000),
        io_bitmap_b: Hpa(0x30_2000),
    }
}

pub(crate) fn controls(capabilities: &Capabilities) -> Controls {
    controls::select(capabilities, &Wants::default())
}

/// A vCPU on `processor`, about to start.
pub(crate) fn started(
    capabilities: &Capabilities,
    wants: &Wants,
    start: &StartState,
) -> (MapVmcs, Vcpu) {
    let mut vmcs = MapVmcs::new();
    let vcpu = initialised(&mut vmcs, capabilities, wants, start);
    vmcs.take_counts();
    (vmcs, vcpu)
}

/// Fills a VMCS.
pub(crate) fn initialised(
    vmcs: &mut MapVmcs,
    capabilities: &Capabilities,
    wants: &Wants,
    start: &StartState,
) -> Vcpu {
    setup::initialise(
        vmcs,
        &Setup {
            controls: &controls::select(capabilities, wants),
            start,
            pat: 0x0007_0406_0007_0406,
            guest_cr4: GUEST_CR4,
            physical_bits: 46,
            tsc_offset: 0,
            vpid: 1,
            host: &HOST,
            pointers: pointers(capabilities),
        },
    )
}

/// A vCPU in 64-bit mode on a Skylake.
pub(crate) fn long() -> (MapVmcs, Vcpu) {
    started(&capabilities(), &Wants::default(), &long_start())
}

/// A vCPU in real mode on a Skylake.
pub(crate) fn real() -> (MapVmcs, Vcpu) {
    started(&capabilities(), &Wants::default(), &real_start())
}
