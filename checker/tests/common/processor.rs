//! Cores and vCPUs that are as they should be, in the manual's numbers.

use super::FRAME;
use proto::certificate::{CoreSurvey, HostState, MsrGrant, VcpuSurvey};

/// PE, NE, WP, PG.
const CR0: u64 = 0x8001_0033;
/// PAE, MCE, OSFXSR, UMIP, VMXE, FSGSBASE, OSXSAVE, SMEP, SMAP.
const CR4: u64 = 0x0035_2a60;
/// SCE, LME, LMA, NXE.
const EFER: u64 = 0xd01;
const PAT: u64 = 0x0007_0406_0007_0406;

/// Where the hypervisor is.
pub(crate) struct Host {
    pub(crate) root: u64,
    /// Linear
    pub(crate) heap: u64,
    pub(crate) heap_frame: u64,
    pub(crate) code: u64,
    pub(crate) stack: u64,
}

/// Where a vCPU is, and what it is.
pub(crate) struct Place {
    pub(crate) vm: u16,
    pub(crate) vcpu: u32,
    pub(crate) core: u32,
    pub(crate) carrier: u8,
    pub(crate) old: bool,
    pub(crate) tag: u16,
}

pub(crate) fn cores(regions: &[u64], root: u64) -> Vec<CoreSurvey> {
    let cores = (0..).zip(regions);
    cores
        .map(|(number, region)| CoreSurvey {
            number,
            apic_id: number * 2,
            cr0: CR0,
            cr3: root,
            cr4: CR4,
            efer: EFER,
            pat: PAT,
            vmxon: *region,
        })
        .collect()
}

pub(crate) fn vcpu(
    at: &Place,
    host: &Host,
    root: u64,
    vmcs: u64,
    bitmaps: [u64; 3],
    page: Option<u64>,
) -> VcpuSurvey {
    let [msr_bitmap, io_bitmap_a, io_bitmap_b] = bitmaps;
    // Pin-based, primary, secondary.
    let [pin, primary, secondary] = match at.carrier {
        0 => [0x69, 0xb218_0c88, 0x10ea],
        1 => [0xe9, 0xb220_0c88, 0x13fa],
        _ => [0x28, 0xb200_0c08, 0x10ea],
    };
    let fixed = if at.old {
        [0x16, 0x0401_e172, 0x3_6dff, 0x11ff]
    } else {
        [0x16, 0x0400_6172, 0x3_6dfb, 0x11fb]
    };
    let fields = 0x1000 * u64::from(at.tag);
    VcpuSurvey {
        vm: at.vm,
        vcpu: at.vcpu,
        core: at.core,
        carrier: ["software", "accelerated", "direct"][usize::from(at.carrier)].to_owned(),
        vmcs,
        pin: pin | fixed[0],
        primary: primary | fixed[1],
        secondary,
        exit: 0x003c_8204 | fixed[2],
        entry: 0xc204 | fixed[3],
        eptp: root | 0x1e,
        vpid: at.tag,
        exception_bitmap: 1 << 1 | 1 << 17 | 1 << 18,
        cr0_mask: !0x8005_001f,
        cr4_mask: !0x0033_0fbf,
        tsc_offset: if at.carrier == 2 {
            0
        } else {
            0u64.wrapping_sub(1 << 30)
        },
        msr_bitmap: Some(msr_bitmap),
        io_bitmap_a: Some(io_bitmap_a),
        io_bitmap_b: Some(io_bitmap_b),
        virtual_apic: page,
        apic_access: None,
        posted_descriptor: page.map(|_| host.heap_frame + fields),
        posted_vector: page.map(|_| 0x42),
        msr_lists: vec![(0, 0); 3],
        host: HostState {
            cr0: CR0,
            cr3: host.root,
            cr4: CR4,
            rip: host.code + 0x1234,
            rsp: host.stack + 4 * FRAME + u64::from(at.core) * 0x1_0000,
            idtr: host.heap + fields,
            gdtr: host.heap + 64,
            tr_base: host.heap + 128,
            fs_base: 0,
            gs_base: host.heap + 256,
            efer: EFER,
            pat: PAT,
        },
        msrs: msrs(at.carrier),
        ports: Vec::new(),
    }
}

const fn grant(first: u32, last: u32, read: bool, write: bool) -> MsrGrant {
    MsrGrant {
        first,
        last,
        read,
        write,
    }
}

/// What a guest is granted under a carrier, neighbours with the same rights in one.
fn msrs(carrier: u8) -> Vec<MsrGrant> {
    let mut grants = vec![
        grant(0x10, 0x10, true, false),
        grant(0x48, 0x48, true, true),
        grant(0x49, 0x49, false, true),
        grant(0x174, 0x176, true, true),
        grant(0x277, 0x277, true, false),
        grant(0xc000_0080, 0xc000_0080, true, false),
        grant(0xc000_0081, 0xc000_0084, true, true),
        grant(0xc000_0100, 0xc000_0103, true, true),
    ];
    if carrier > 0 {
        grants.extend([
            grant(0x808, 0x808, true, true),
            grant(0x80a, 0x80a, true, false),
            grant(0x80b, 0x80b, false, true),
            grant(0x810, 0x827, true, false),
            grant(0x83f, 0x83f, false, true),
        ]);
    }
    if carrier > 1 {
        grants.extend([
            grant(0x3b, 0x3b, true, false),
            grant(0x6e0, 0x6e0, true, true),
            grant(0x838, 0x838, true, true),
            grant(0x839, 0x839, true, false),
        ]);
    }
    grants.sort_unstable();
    grants
}
