//! The first contents of a VMCS.

use crate::{Controls, Vcpu, Vmcs};
use spec::Hpa;
use spec::cpu::Efer;
use spec::ept::Eptp;
use spec::state::StartState;
use spec::vmcs::{self, Field};
use spec::vmx_controls::{
    EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
};

/// What an exit loads (SDM vol. 3, "Host-State Area").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the manual's names")]
pub struct HostState {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub es: u16,
    pub cs: u16,
    pub ss: u16,
    pub ds: u16,
    pub fs: u16,
    pub gs: u16,
    pub tr: u16,
    pub fs_base: u64,
    pub gs_base: u64,
    pub tr_base: u64,
    pub gdtr_base: u64,
    pub idtr_base: u64,
    pub sysenter_cs: u32,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub rsp: u64,
    pub rip: u64,
    pub efer: u64,
    pub pat: u64,
}

/// Host-physical addresses of what the processor reads by itself for this vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pointers {
    /// Nested page tables
    pub eptp: Eptp,
    /// [`crate::MsrBitmap`]
    pub msr_bitmap: Hpa,
    /// First half of [`crate::IoBitmaps`]
    pub io_bitmap_a: Hpa,
    /// Second half of [`crate::IoBitmaps`]
    pub io_bitmap_b: Hpa,
}

/// All that a vCPU begins with.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// From [`crate::controls::select`]
    pub controls: &'a Controls,
    /// Registers at the start; the general-purpose ones but RSP are the owner's to load
    pub start: &'a StartState,
    /// The guest's IA32_PAT at the start. A processor that has run keeps it over INIT: it is read from
    /// [`vmcs::GUEST_PAT`] before this is called.
    pub pat: u64,
    /// CR4 bits that the guest may change without an exit. A bit whose feature is hidden must not be here; one on which
    /// a CPUID answer hangs (OSXSAVE, PKE) should not be, so that its owner learns of the change.
    pub guest_cr4: u64,
    /// Bits of physical addresses, as CPUID tells the guest
    pub physical_bits: u8,
    /// What the guest's TSC is ahead of the host's, modulo 2^64: what the vCPU's software half says, since that keeps it
    /// over INIT
    pub tsc_offset: u64,
    /// Not zero, and no other vCPU's on the same core; ignored where the processor has no VPID
    pub vpid: u16,
    /// Host state
    pub host: &'a HostState,
    /// Structures in memory
    pub pointers: Pointers,
}

/// Writes every field of a current VMCS that the chosen controls make the processor look at: of one that was just cleared, or of one
/// that was used before, of which nothing is left then.
///
/// For a start-up IPI [`Vcpu::start_up`] is enough, and keeps what INIT keeps.
pub fn initialise(vmcs: &mut impl Vmcs, setup: &Setup<'_>) -> Vcpu {
    let mut vcpu = Vcpu::new(
        setup.controls,
        setup.host.cr4,
        setup.guest_cr4,
        setup.physical_bits,
    );
    controls(vmcs, setup);
    host(vmcs, setup.host);
    guest(vmcs, setup, &mut vcpu);
    vcpu
}

pub(crate) fn write_all<const N: usize>(vmcs: &mut impl Vmcs, fields: [(Field, u64); N]) {
    for (field, value) in fields {
        vmcs.write(field, value);
    }
}

fn controls(vmcs: &mut impl Vmcs, setup: &Setup<'_>) {
    let Controls {
        pin,
        primary,
        secondary,
        exit,
        entry,
        exceptions,
        ..
    } = *setup.controls;
    let entry = entry.bits()
        | if setup.start.efer & Efer::LMA.bits() != 0 {
            EntryControls::IA32E_GUEST.bits()
        } else {
            0
        };
    write_all(
        vmcs,
        [
            (vmcs::PIN_CONTROLS, u64::from(pin.bits())),
            (vmcs::PRIMARY_CONTROLS, u64::from(primary.bits())),
            (vmcs::SECONDARY_CONTROLS, u64::from(secondary.bits())),
            (vmcs::EXIT_CONTROLS, u64::from(exit.bits())),
            (vmcs::ENTRY_CONTROLS, u64::from(entry)),
            (vmcs::EXCEPTION_BITMAP, u64::from(exceptions)),
            (vmcs::PAGE_FAULT_ERROR_MASK, 0),
            (vmcs::PAGE_FAULT_ERROR_MATCH, 0),
            (vmcs::CR3_TARGET_COUNT, 0),
            (vmcs::EXIT_MSR_STORE_COUNT, 0),
            (vmcs::EXIT_MSR_LOAD_COUNT, 0),
            (vmcs::ENTRY_MSR_LOAD_COUNT, 0),
            (vmcs::ENTRY_INTERRUPTION_INFO, 0),
            (vmcs::ENTRY_ERROR_CODE, 0),
            (vmcs::ENTRY_INSTRUCTION_LENGTH, 0),
            (vmcs::EPT_POINTER, setup.pointers.eptp.bits()),
            (vmcs::MSR_BITMAPS, setup.pointers.msr_bitmap.0),
            (vmcs::IO_BITMAP_A, setup.pointers.io_bitmap_a.0),
            (vmcs::IO_BITMAP_B, setup.pointers.io_bitmap_b.0),
            (vmcs::TSC_OFFSET, setup.tsc_offset),
        ],
    );
    // The rest exist only where their control does.
    for (present, field, value) in [
        (
            secondary.contains(SecondaryControls::VPID),
            vmcs::VPID,
            u64::from(setup.vpid),
        ),
        // No state component of IA32_XSS makes XSAVES exit; the MSR itself is the owner's to guard.
        (
            secondary.contains(SecondaryControls::XSAVES),
            vmcs::XSS_EXITING_BITMAP,
            0,
        ),
        (
            secondary.contains(SecondaryControls::ENCLS_EXITING),
            vmcs::ENCLS_EXITING_BITMAP,
            u64::MAX,
        ),
        (
            secondary.contains(SecondaryControls::ENCLV_EXITING),
            vmcs::ENCLV_EXITING_BITMAP,
            u64::MAX,
        ),
        (
            pin.contains(PinControls::PREEMPTION_TIMER),
            vmcs::PREEMPTION_TIMER,
            u64::from(u32::MAX),
        ),
        (
            primary.contains(PrimaryControls::TERTIARY),
            vmcs::TERTIARY_CONTROLS,
            0,
        ),
        (
            exit.contains(ExitControls::SECONDARY),
            vmcs::SECONDARY_EXIT_CONTROLS,
            0,
        ),
    ] {
        if present {
            vmcs.write(field, value);
        }
    }
}

/// Writes the host-state area: what the core that the VMCS is on goes on with at VM exits.
pub fn host(vmcs: &mut impl Vmcs, host: &HostState) {
    write_all(
        vmcs,
        [
            (vmcs::HOST_CR0, host.cr0),
            (vmcs::HOST_CR3, host.cr3),
            (vmcs::HOST_CR4, host.cr4),
            (vmcs::HOST_ES_SELECTOR, u64::from(host.es)),
            (vmcs::HOST_CS_SELECTOR, u64::from(host.cs)),
            (vmcs::HOST_SS_SELECTOR, u64::from(host.ss)),
            (vmcs::HOST_DS_SELECTOR, u64::from(host.ds)),
            (vmcs::HOST_FS_SELECTOR, u64::from(host.fs)),
            (vmcs::HOST_GS_SELECTOR, u64::from(host.gs)),
            (vmcs::HOST_TR_SELECTOR, u64::from(host.tr)),
            (vmcs::HOST_FS_BASE, host.fs_base),
            (vmcs::HOST_GS_BASE, host.gs_base),
            (vmcs::HOST_TR_BASE, host.tr_base),
            (vmcs::HOST_GDTR_BASE, host.gdtr_base),
            (vmcs::HOST_IDTR_BASE, host.idtr_base),
            (vmcs::HOST_SYSENTER_CS, u64::from(host.sysenter_cs)),
            (vmcs::HOST_SYSENTER_ESP, host.sysenter_esp),
            (vmcs::HOST_SYSENTER_EIP, host.sysenter_eip),
            (vmcs::HOST_RSP, host.rsp),
            (vmcs::HOST_RIP, host.rip),
            (vmcs::HOST_EFER, host.efer),
            (vmcs::HOST_PAT, host.pat),
        ],
    );
}

fn guest(vmcs: &mut impl Vmcs, setup: &Setup<'_>, vcpu: &mut Vcpu) {
    vcpu.load(vmcs, setup.start, setup.start.cr0);
    write_all(
        vmcs,
        [
            (vmcs::GUEST_EFER, setup.start.efer),
            (vmcs::GUEST_PAT, setup.pat),
            (vmcs::GUEST_SYSENTER_CS, 0),
            (vmcs::GUEST_SYSENTER_ESP, 0),
            (vmcs::GUEST_SYSENTER_EIP, 0),
            (vmcs::GUEST_SMBASE, 0),
            // All ones says that there is no linked VMCS.
            (vmcs::VMCS_LINK_POINTER, u64::MAX),
        ],
    );
}
