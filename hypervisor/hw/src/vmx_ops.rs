//! The VMX instructions, and the VMCS through them (SDM vol. 3, "VMX Instruction Reference").
// UNSAFETY: VMXON, VMXOFF, VMCLEAR, VMPTRLD, VMREAD, VMWRITE, INVEPT, INVVPID.
#![allow(unsafe_code)]

use crate::{control, msr};
use core::arch::asm;
use core::cell::Cell;
use core::fmt;
use spec::Hpa;
use spec::cpu::Cr4;
use spec::ept::{Eptp, InveptDescriptor, InveptType};
use spec::msr::{FEATURE_CONTROL, FeatureControl};
use spec::vmcs::Field;
use spec::vmx_error::VmxError;

/// How a VMX instruction failed (SDM vol. 3, "Conventions").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmFail {
    /// There is no current VMCS.
    Invalid,
    /// With the number in the VM-instruction error field.
    Valid(VmxError),
}

impl fmt::Display for VmFail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VmFail::Invalid => write!(f, "VMfailInvalid"),
            VmFail::Valid(n) => write!(f, "VMfailValid error={} ({})", n.0, n.name()),
        }
    }
}

/// Why VMX operation cannot be entered on this core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unavailable {
    /// CPUID.1:ECX.VMX is clear.
    NoVmx,
    /// The firmware has locked IA32_FEATURE_CONTROL with VMX off.
    LockedOff,
    /// VMXON itself failed.
    VmxonFailed(VmFail),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::NoVmx => {
                write!(f, "this processor has no VT-x (CPUID.1:ECX bit 5 is clear)")
            }
            Unavailable::LockedOff => write!(
                f,
                "the firmware has switched VT-x off and locked it (IA32_FEATURE_CONTROL); look for \
                 \"Intel Virtualization Technology\" or \"VMX\" in the firmware's setup and enable it"
            ),
            Unavailable::VmxonFailed(e) => write!(f, "VMXON failed: {e}"),
        }
    }
}

/// Whether this processor has VT-x.
#[must_use]
pub fn has_vmx() -> bool {
    crate::cpuid::features().contains(spec::cpuid::Leaf1Ecx::VMX)
}

/// Enters VMX root operation on this core.
///
/// # Errors
/// Says why it cannot be.
///
/// # Safety
/// `region` is a frame of this core's own, its first 31 bits the VMCS revision, and stays so until [`vmxoff`].
pub unsafe fn vmxon(region: Hpa, cr0_fixed0: u64, cr4_fixed0: u64) -> Result<(), Unavailable> {
    if !has_vmx() {
        return Err(Unavailable::NoVmx);
    }
    // SAFETY: a processor with VT-x has this MSR; it is written only while unlocked.
    unsafe {
        let feature = FeatureControl::from_bits_retain(msr::read(FEATURE_CONTROL));
        let on = FeatureControl::LOCK | FeatureControl::VMX_OUTSIDE_SMX;
        if !feature.contains(FeatureControl::LOCK) {
            msr::write(FEATURE_CONTROL, (feature | on).bits());
        } else if !feature.contains(on) {
            return Err(Unavailable::LockedOff);
        }
    }
    // SAFETY: these bits are what VMX operation demands, from the capability MSRs.
    unsafe {
        x86_64::registers::control::Cr0::write_raw(control::cr0() | cr0_fixed0);
        control::set_cr4(control::cr4() | cr4_fixed0 | Cr4::VMXE.bits());
    }
    let (carry, zero): (u8, u8);
    // SAFETY: the operand is the physical address of a region that the caller vouches for.
    unsafe {
        asm!("vmxon [{}]", "setc {}", "setz {}", in(reg) &raw const region.0, out(reg_byte) carry,
            out(reg_byte) zero, options(nostack));
    }
    // There is no current VMCS yet, so no error number can be read.
    if carry != 0 || zero != 0 {
        // SAFETY: the core is not in VMX operation.
        unsafe { control::set_cr4(control::cr4() & !Cr4::VMXE.bits()) };
        return Err(Unavailable::VmxonFailed(VmFail::Invalid));
    }
    Ok(())
}

/// Leaves VMX operation on this core, if it is in it.
///
/// # Safety
/// CR4.VMXE is set only while the core is in VMX root operation, as [`vmxon`] leaves it; no VMCS is active on it that is
/// used again without VMCLEAR.
pub unsafe fn vmxoff() {
    let four = control::cr4();
    if four & Cr4::VMXE.bits() != 0 {
        // SAFETY: per contract.
        unsafe {
            asm!("vmxoff", options(nostack));
            control::set_cr4(four & !Cr4::VMXE.bits());
        }
    }
}

/// Turns the flags after a VMX instruction into a result.
fn outcome(carry: u8, zero: u8) -> Result<(), VmFail> {
    if carry != 0 {
        return Err(VmFail::Invalid);
    }
    if zero != 0 {
        let error: u64;
        // SAFETY: VMfailValid means that there is a current VMCS, which has this field.
        unsafe {
            asm!("vmread {}, {}", out(reg) error, in(reg) u64::from(spec::vmcs::INSTRUCTION_ERROR.0), options(nostack))
        };
        return Err(VmFail::Valid(VmxError(error as u32)));
    }
    Ok(())
}

/// # Safety
/// The core is in VMX root operation; `region` is a frame for a VMCS and nothing else.
#[inline]
unsafe fn vmclear(region: Hpa) -> Result<(), VmFail> {
    let (carry, zero): (u8, u8);
    // SAFETY: per contract.
    unsafe {
        asm!("vmclear [{}]", "setc {}", "setz {}", in(reg) &raw const region.0,
            out(reg_byte) carry, out(reg_byte) zero, options(nostack));
    }
    outcome(carry, zero)
}

/// # Safety
/// As for [`vmclear`]; the VMCS is active on no other core.
#[inline]
unsafe fn vmptrld(region: Hpa) -> Result<(), VmFail> {
    let (carry, zero): (u8, u8);
    // SAFETY: per contract.
    unsafe {
        asm!("vmptrld [{}]", "setc {}", "setz {}", in(reg) &raw const region.0,
            out(reg_byte) carry, out(reg_byte) zero, options(nostack));
    }
    outcome(carry, zero)
}

/// No field has this encoding: bit 31 is reserved (SDM vol. 3, "Field Encoding in VMCS").
const NO_FIELD: u32 = u32::MAX;

/// A VMCS that is active on this core. A core may have several, of which one is current.
///
/// Not `Send`: VMREAD and VMWRITE reach the current VMCS of the core that executes them, and one that is active on a core may be
/// in that core's caches only.
#[derive(Debug)]
pub struct CurrentVmcs {
    region: Hpa,
    /// Encoding of a field whose access failed, or [`NO_FIELD`]
    failed: Cell<u32>,
    not_send: core::marker::PhantomData<*mut ()>,
}

impl CurrentVmcs {
    /// Clears the region and makes it current.
    ///
    /// # Errors
    /// As VMCLEAR and VMPTRLD have it.
    ///
    /// # Safety
    /// The core is in VMX root operation and stays so for as long as this value lives; `region` is a frame of this VMCS's own
    /// with the revision in its first 31 bits; the value's other methods are used only while it is current: no other was made
    /// current since, but for [`CurrentVmcs::make_current`] and [`CurrentVmcs::clear`], which may be used at any time.
    pub unsafe fn new(region: Hpa) -> Result<Self, VmFail> {
        // SAFETY: per contract.
        unsafe {
            vmclear(region)?;
            vmptrld(region)?;
        }
        Ok(Self {
            region,
            failed: Cell::new(NO_FIELD),
            not_send: core::marker::PhantomData,
        })
    }

    /// Makes it current again, after another was.
    ///
    /// # Errors
    /// As VMPTRLD has it.
    ///
    /// # Safety
    /// As for [`CurrentVmcs::new`]; whichever other one is displaced by this is not used until it is made current again.
    #[inline]
    pub unsafe fn make_current(&self) -> Result<(), VmFail> {
        // SAFETY: per contract; the region is this value's own since `new`.
        unsafe { vmptrld(self.region) }
    }

    /// Writes the VMCS back to its region and makes it inactive and not launched, so that another core may have it, or the
    /// frame be used for other things. Of this value's methods, only [`CurrentVmcs::make_current`] may follow.
    ///
    /// # Errors
    /// As VMCLEAR has it.
    pub fn clear(&mut self) -> Result<(), VmFail> {
        // SAFETY: `new`'s contract holds for as long as this value lives.
        unsafe { vmclear(self.region) }
    }

    /// Where it lies.
    #[must_use]
    pub const fn region(&self) -> Hpa {
        self.region
    }

    /// The last field whose read or write failed since the last call: a bug of ours. Reads gave zero.
    #[must_use]
    #[inline]
    pub fn take_failure(&self) -> Option<Field> {
        let field = self.failed.get();
        if field == NO_FIELD {
            return None;
        }
        self.failed.set(NO_FIELD);
        Some(Field(field))
    }

    /// Error number of the last VM entry or VMX instruction that failed.
    #[must_use]
    pub fn instruction_error(&self) -> VmxError {
        match outcome(0, 1) {
            Err(VmFail::Valid(n)) => n,
            _ => VmxError(0),
        }
    }
}

impl vmx::Vmcs for CurrentVmcs {
    #[inline]
    fn read(&self, field: Field) -> u64 {
        let value: u64;
        // One branch, taken when all is well, is all that the check costs: fields are read on every exit.
        // SAFETY: a VMCS is current per `new`; VMREAD of any field number is harmless. The pointer is to our own cell.
        unsafe {
            asm!(
                "vmread {value}, {field}",
                "ja 2f",
                "mov [{failed}], {field:e}",
                "xor {value:e}, {value:e}",
                "2:",
                value = out(reg) value, field = in(reg) u64::from(field.0),
                failed = in(reg) self.failed.as_ptr(), options(nostack)
            );
        }
        value
    }

    #[inline]
    fn write(&mut self, field: Field, value: u64) {
        // SAFETY: a VMCS is current per `new`. What is written decides what the guest may do: `vmx` makes those
        // values from the capabilities and the plan, and its checker judges them. The pointer is to our own cell.
        unsafe {
            asm!(
                "vmwrite {field}, {value}",
                "ja 2f",
                "mov [{failed}], {field:e}",
                "2:",
                value = in(reg) value, field = in(reg) u64::from(field.0),
                failed = in(reg) self.failed.as_ptr(), options(nostack)
            );
        }
    }
}

/// Executes INVEPT. It fails only for a type or descriptor that the processor does not take: a fault of ours that
/// would leave stale translations behind, so the machine stops.
///
/// # Safety
/// The core is in VMX root operation, and the processor has this type of INVEPT.
pub unsafe fn invept(kind: InveptType, eptp: Eptp) {
    let descriptor = InveptDescriptor { eptp, reserved: 0 };
    let failed: u8;
    // SAFETY: per contract.
    unsafe {
        asm!("invept {}, [{}]", "setbe {}", in(reg) kind as u64, in(reg) &raw const descriptor,
            out(reg_byte) failed, options(nostack));
    }
    assert!(failed == 0, "INVEPT {kind:?} failed");
}

/// Drops every linear translation that was cached for `vpid` (INVVPID, single-context).
///
/// # Safety
/// The core is in VMX root operation, and the processor has single-context INVVPID; `vpid` is not zero.
pub unsafe fn invvpid_single(vpid: u16) {
    // SAFETY: per contract.
    unsafe { invvpid(1, vpid) };
}

/// Drops every linear translation that was cached for any VPID but the host's (INVVPID, all-context).
///
/// # Safety
/// The core is in VMX root operation, and the processor has all-context INVVPID.
pub unsafe fn invvpid_all() {
    // SAFETY: per contract.
    unsafe { invvpid(2, 0) };
}

/// # Safety
/// As for the two above.
unsafe fn invvpid(kind: u64, vpid: u16) {
    let descriptor: [u64; 2] = [vpid.into(), 0];
    let failed: u8;
    // SAFETY: per contract.
    unsafe {
        asm!("invvpid {}, [{}]", "setbe {}", in(reg) kind, in(reg) &raw const descriptor,
            out(reg_byte) failed, options(nostack));
    }
    assert!(failed == 0, "INVVPID of type {kind} failed");
}
