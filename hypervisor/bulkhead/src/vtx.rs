//! VT-x on this core: what there is, what is missing, and VMX root operation.
// UNSAFETY: reads capability MSRs and enters VMX operation.
#![allow(unsafe_code)]

use alloc::string::{String, ToString};
use hw::{msr, vmx_ops};
use ram::{FrameTables, Use};
use seam::TableMem;
use spec::Hpa;
use spec::ept::{Eptp, InveptType};
use spec::memory_type::MemoryType;
use spec::vmx_controls::SecondaryControls;
use vmx::Capabilities;

/// A core in VMX root operation.
#[derive(Debug)]
pub(crate) struct VtX {
    /// What its capability MSRs say
    pub(crate) capabilities: Capabilities,
    /// Where control structures and nested tables come from
    pub(crate) memory: FrameTables<'static>,
    /// The core's VMXON region
    pub(crate) vmxon: Hpa,
}

impl VtX {
    /// Names what is missing and enters VMX root operation.
    ///
    /// # Errors
    /// The reason why this machine cannot run guests, in words.
    pub(crate) fn start(memory: FrameTables<'static>) -> Result<Self, String> {
        if !vmx_ops::has_vmx() {
            return Err(vmx_ops::Unavailable::NoVmx.to_string());
        }
        // SAFETY: a processor with VT-x has the MSRs; `Capabilities` reads the optional ones only where others announce
        // them.
        let capabilities = Capabilities::new(|m| unsafe { msr::read(m) });
        let mut refused = false;
        for m in capabilities.missing() {
            refused = true;
            crate::error!("vtx: missing {}: {}", m.feature, m.consequence);
        }
        if refused {
            let names = capabilities.missing().fold(String::new(), |mut all, m| {
                if !all.is_empty() {
                    all += ", ";
                }
                all += m.feature;
                all
            });
            return Err(alloc::format!("this processor's VT-x lacks {names}"));
        }
        for m in capabilities.without() {
            crate::info!("vtx: without {}: {}", m.feature, m.consequence);
        }
        Self::enter(memory, capabilities)
    }

    /// Enters VMX root operation on a further core, whose VT-x must be as the first one's, since any core may serve any guest.
    ///
    /// # Errors
    /// The reason why this core cannot run guests, in words.
    pub(crate) fn join(memory: FrameTables<'static>, first: &Capabilities) -> Result<Self, String> {
        if !vmx_ops::has_vmx() {
            return Err(vmx_ops::Unavailable::NoVmx.to_string());
        }
        // SAFETY: as in `start`.
        let capabilities = Capabilities::new(|m| unsafe { msr::read(m) });
        if capabilities != *first {
            return Err("its VT-x is not that of the first core".into());
        }
        Self::enter(memory, capabilities)
    }

    fn enter(memory: FrameTables<'static>, capabilities: Capabilities) -> Result<Self, String> {
        let region = region(memory.to_use(Use::VmxRegion), &capabilities)?;
        let vtx = Self {
            capabilities,
            memory,
            vmxon: region,
        };
        // SAFETY: the frame was just taken for this and carries the revision.
        unsafe {
            vmx_ops::vmxon(
                region,
                capabilities.cr0.must_be_one,
                capabilities.cr4.must_be_one,
            )
        }
        .map_err(|e| e.to_string())?;
        vtx.forget_translations();
        Ok(vtx)
    }

    /// Whether translations can be told apart by VPID, and dropped for one.
    pub(crate) fn has_vpid(&self) -> bool {
        self.capabilities.has_secondary(SecondaryControls::VPID)
            && self.capabilities.can_flush_vpid()
    }

    /// Drops all that the processor has cached of any guest's translations.
    pub(crate) fn forget_translations(&self) {
        let none = Eptp::new(Hpa(0), MemoryType::WriteBack, false);
        // SAFETY: in VMX root operation for as long as this value lives; all-context INVEPT is among what
        // `Capabilities::missing` demands, and INVVPID is asked for.
        unsafe {
            vmx_ops::invept(InveptType::AllContexts, none);
            if self.has_vpid() {
                vmx_ops::invvpid_all();
            }
        }
    }

    /// A frame for a VMCS.
    pub(crate) fn region(&self, vm: u16) -> Result<Hpa, String> {
        region(self.memory.to_use(Use::Vmcs(vm)), &self.capabilities)
    }
}

/// A frame for VMXON or a VMCS, with the revision identifier in its first word.
fn region(mut memory: FrameTables<'static>, capabilities: &Capabilities) -> Result<Hpa, String> {
    let frame = memory.alloc().ok_or("no frame is left for VMX")?;
    memory.write(frame, 0, capabilities.basic.revision().into());
    Ok(frame)
}
