//! A control structure, field by field (SDM vol. 3, appendix "Field Encoding in VMCS").

use crate::{Error, Memory, bitmaps};
use alloc::string::String;
use alloc::vec;
use proto::certificate::{HostState, VcpuSurvey};

/// A control structure that is current on the core that asks.
pub trait Fields {
    /// The field of this encoding.
    fn field(&self, encoding: u32) -> u64;
}

/// Whose control structure it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whose {
    /// Number of the VM in the plan
    pub vm: u16,
    /// Number of the vCPU in the VM
    pub vcpu: u32,
    /// The core that has read it
    pub core: u32,
    /// What carries the local APIC, one word
    pub carrier: String,
    /// Where the structure is
    pub vmcs: u64,
}

/// What a control structure says of what its guest may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    pin: u32,
    primary: u32,
    secondary: u32,
    exit: u32,
    entry: u32,
    eptp: u64,
    vpid: u16,
    exception_bitmap: u32,
    cr0_mask: u64,
    cr4_mask: u64,
    tsc_offset: u64,
    msr_bitmap: Option<u64>,
    io_bitmaps: Option<[u64; 2]>,
    virtual_apic: Option<u64>,
    apic_access: Option<u64>,
    posted: Option<(u64, u16)>,
    msr_lists: [(u64, u32); 3],
    host: HostState,
}

/// Pin-based: process posted interrupts.
const POSTED: u32 = 1 << 7;
/// Primary: use TPR shadow, and with it a virtual-APIC page.
const TPR_SHADOW: u32 = 1 << 21;
/// Primary: unconditional I/O exiting, where there are no bitmaps.
const IO_EXITING: u32 = 1 << 24;
/// Primary: use I/O bitmaps.
const IO_BITMAPS: u32 = 1 << 25;
/// Primary: use MSR bitmaps.
const MSR_BITMAPS: u32 = 1 << 28;
/// Primary: activate secondary controls.
const SECONDARY: u32 = 1 << 31;
/// Secondary: virtualize APIC accesses.
const APIC_ACCESSES: u32 = 1 << 0;
/// Secondary: enable EPT.
const EPT: u32 = 1 << 1;
/// Secondary: enable VPID.
const VPID: u32 = 1 << 5;
/// Exit: load `IA32_PAT`.
const LOAD_PAT: u32 = 1 << 19;
/// Exit: load `IA32_EFER`.
const LOAD_EFER: u32 = 1 << 21;

impl Control {
    /// Reads it. Fields that a control switches off are not read: the processor may not have them.
    #[must_use]
    pub fn read(fields: &impl Fields) -> Self {
        let wide = |encoding| fields.field(encoding);
        // VMREAD gives zeros above a field of 32 bits, or of 16.
        let word = |encoding| fields.field(encoding) as u32;
        let when = |on: bool, encoding| on.then(|| fields.field(encoding));
        let (pin, primary, exit) = (word(0x4000), word(0x4002), word(0x400c));
        let secondary = when(primary & SECONDARY != 0, 0x401e).unwrap_or(0) as u32;
        let list = |address, count| (wide(address), word(count));
        Self {
            pin,
            primary,
            secondary,
            exit,
            entry: word(0x4012),
            eptp: when(secondary & EPT != 0, 0x201a).unwrap_or(0),
            vpid: when(secondary & VPID != 0, 0x0000).unwrap_or(0) as u16,
            exception_bitmap: word(0x4004),
            cr0_mask: wide(0x6000),
            cr4_mask: wide(0x6002),
            tsc_offset: wide(0x2010),
            msr_bitmap: when(primary & MSR_BITMAPS != 0, 0x2004),
            io_bitmaps: (primary & IO_BITMAPS != 0).then(|| [wide(0x2000), wide(0x2002)]),
            virtual_apic: when(primary & TPR_SHADOW != 0, 0x2012),
            apic_access: when(secondary & APIC_ACCESSES != 0, 0x2014),
            posted: (pin & POSTED != 0).then(|| (wide(0x2016), word(0x0002) as u16)),
            // Entry-load, exit-store, exit-load.
            msr_lists: [
                list(0x200a, 0x4014),
                list(0x2006, 0x400e),
                list(0x2008, 0x4010),
            ],
            host: HostState {
                cr0: wide(0x6c00),
                cr3: wide(0x6c02),
                cr4: wide(0x6c04),
                fs_base: wide(0x6c06),
                gs_base: wide(0x6c08),
                tr_base: wide(0x6c0a),
                gdtr: wide(0x6c0c),
                idtr: wide(0x6c0e),
                rsp: wide(0x6c14),
                rip: wide(0x6c16),
                pat: when(exit & LOAD_PAT != 0, 0x2c00).unwrap_or(0),
                efer: when(exit & LOAD_EFER != 0, 0x2c02).unwrap_or(0),
            },
        }
    }

    /// What it lets its guest do, with the bitmaps that it names.
    ///
    /// # Errors
    /// A bitmap is where there is none.
    pub fn survey(&self, memory: &impl Memory, whose: Whose) -> Result<VcpuSurvey, Error> {
        let msrs = match self.msr_bitmap {
            Some(at) => bitmaps::msrs(memory, at)?,
            // Without a bitmap all of them exit.
            None => vec![],
        };
        let ports = match self.io_bitmaps {
            Some([a, b]) => bitmaps::ports(memory, a, b)?,
            None if self.primary & IO_EXITING != 0 => vec![],
            None => vec![(0, u16::MAX)],
        };
        let Whose {
            vm,
            vcpu,
            core,
            carrier,
            vmcs,
        } = whose;
        Ok(VcpuSurvey {
            vm,
            vcpu,
            core,
            carrier,
            vmcs,
            pin: self.pin,
            primary: self.primary,
            secondary: self.secondary,
            exit: self.exit,
            entry: self.entry,
            eptp: self.eptp,
            vpid: self.vpid,
            exception_bitmap: self.exception_bitmap,
            cr0_mask: self.cr0_mask,
            cr4_mask: self.cr4_mask,
            tsc_offset: self.tsc_offset,
            msr_bitmap: self.msr_bitmap,
            io_bitmap_a: self.io_bitmaps.map(|[a, _]| a),
            io_bitmap_b: self.io_bitmaps.map(|[_, b]| b),
            virtual_apic: self.virtual_apic,
            apic_access: self.apic_access,
            posted_descriptor: self.posted.map(|(at, _)| at),
            posted_vector: self.posted.map(|(_, vector)| vector),
            msr_lists: self.msr_lists.to_vec(),
            host: self.host,
            msrs,
            ports,
        })
    }
}
