//! One vCPU on metal: its control structure, its registers, and the software half in `vm`.
// UNSAFETY: makes a VMCS current and invalidates cached translations.
#![allow(unsafe_code)]

use crate::host::Core;
use crate::launch::Guest;
use crate::log::Level;
use crate::vtx::VtX;
use alloc::string::{String, ToString};
use exits::{Event, Stop};
use hw::control;
use hw::entry::Registers;
use hw::vmx_ops::{self, CurrentVmcs};
use platform::msr::Rights;
use seam::TableMem;
use spec::cpu::Cr4;
use spec::ept::Eptp;
use spec::memory_type::MemoryType;
use spec::state::StartState;
use spec::vmx_controls::SecondaryControls;
use spec::{Hpa, PAGE_SIZE, Ticks};
use vm::{Mailbox, Wants};
use vmx::{Effect, HostState, Pointers, Setup, Vmcs};

/// The VPID of the only vCPU. Zero is the host's.
const VPID: u16 = 1;

/// A vCPU that this core runs.
pub(crate) struct Vcpu {
    /// The VT-x half
    pub(crate) vmx: vmx::Vcpu,
    /// Its control structure, current on this core
    pub(crate) vmcs: CurrentVmcs,
    /// General registers
    pub(crate) registers: Registers,
    /// The software half
    pub(crate) software: vm::Vcpu,
    /// Frames of the VMCS, the MSR bitmap and the two I/O bitmaps
    frames: [Hpa; 4],
    has_vpid: bool,
    /// The preemption timer's field holds a deadline, not the longest time there is
    timer_set: bool,
}

impl Vcpu {
    /// Makes a vCPU that begins in `start`.
    ///
    /// # Errors
    /// What went wrong, in words.
    #[inline(never)]
    pub(crate) fn new(
        vtx: &mut VtX,
        core: &Core,
        guest: &Guest,
        start: &StartState,
    ) -> Result<Self, String> {
        let policy = &guest.vm.policy;
        let region = vtx.region()?;
        let bitmaps = [(); 3].map(|()| vtx.memory.alloc());
        let [Some(msr_bitmap), Some(io_a), Some(io_b)] = bitmaps else {
            return Err("no frame is left for bitmaps".into());
        };
        let mut msrs = vmx::MsrBitmap::new();
        for (msr, rights) in policy.msrs.direct() {
            if !msrs.allow(
                msr,
                rights.contains(Rights::READ),
                rights.contains(Rights::WRITE),
            ) {
                return Err(alloc::format!("{msr:?} cannot be direct"));
            }
        }
        let io = vmx::IoBitmaps::new();
        let (a, b) = io.bytes().split_at(vmx::IoBitmaps::B);
        for (frame, bytes) in [(msr_bitmap, &msrs.bytes()[..]), (io_a, a), (io_b, b)] {
            if !vtx.memory.fill(frame, bytes) {
                return Err("a frame lies outside memory".into());
            }
        }
        // SAFETY: in VMX root operation since `VtX::start`; the region was just made; the vCPU before this one has ended.
        let mut vmcs = unsafe { CurrentVmcs::load(region) }.map_err(|e| e.to_string())?;
        let eptp = Eptp::new(guest.nested.root(), MemoryType::WriteBack, false);
        let host = host_state(core);
        let vmx = vmx::setup::initialise(
            &mut vmcs,
            &Setup {
                controls: &guest.controls,
                start,
                pat: control::PAT_RESET,
                guest_cr4: (policy.cpuid.cr4() - Cr4::OSXSAVE).bits(),
                tsc_offset: 0,
                vpid: VPID,
                host: &host,
                pointers: Pointers {
                    eptp,
                    msr_bitmap,
                    io_bitmap_a: io_a,
                    io_bitmap_b: io_b,
                },
            },
        );
        vtx.forget_translations();
        let mut broken = false;
        vmx::check(
            &vmcs,
            &vtx.capabilities,
            hw::cpuid::address_widths(),
            &mut |failure| {
                broken = true;
                crate::error!("vm: entry rule broken: {failure}");
            },
        );
        if broken {
            vmcs.clear().map_err(|e| e.to_string())?;
            return Err("its control structure breaks the rules for VM entry".into());
        }
        control::reset_extended_state();
        hw::guest_msrs::reset(rdtscp(&guest.controls));
        let mut registers = Registers::default();
        registers.gprs = start.gprs;
        Ok(Self {
            vmx,
            vmcs,
            registers,
            software: vm::Vcpu::new(0, policy.cpuid.timer_shift() as u8),
            frames: [region, msr_bitmap, io_a, io_b],
            has_vpid: vtx.has_vpid(),
            timer_set: false,
        })
    }

    /// Puts into the VMCS what the next entry delivers, and the time at which it must end. `false` if the vCPU sleeps and
    /// nothing wakes it.
    #[inline]
    pub(crate) fn prepare(&mut self, core: &Core, mailbox: &Mailbox, now: Ticks) -> bool {
        let wants = self.software.wants(mailbox, now);
        let window = wants != Wants::default() && self.deliver(wants);
        if self.software.halted {
            return false;
        }
        self.vmx.request_interrupt_window(&mut self.vmcs, window);
        let deadline = core.latest(self.software.deadline());
        // The timer starts anew from its field at each entry, so a deadline needs a write each time; none needs only one.
        if let Some(deadline) = deadline {
            self.vmx.set_timer(&mut self.vmcs, deadline.since(now));
        } else if self.timer_set {
            self.vmx.set_timer(&mut self.vmcs, Ticks(u64::MAX));
        }
        self.timer_set = deadline.is_some();
        true
    }

    /// Puts an event into the VMCS if the guest can take it now; says whether to exit as soon as it can take another interrupt.
    #[inline(never)]
    fn deliver(&mut self, wants: Wants) -> bool {
        if wants.nmi {
            if self.vmx.can_take_nmi(&self.vmcs) {
                let _ = self.vmx.inject(&mut self.vmcs, Event::Nmi);
                self.software.nmi_taken();
            }
            self.vmx
                .request_nmi_window(&mut self.vmcs, self.software.nmi_waits());
        }
        let Some(vector) = wants.interrupt else {
            return false;
        };
        if !self.vmx.can_take_interrupt(&self.vmcs) {
            return true;
        }
        let _ = self.vmx.inject(&mut self.vmcs, Event::Interrupt(vector));
        self.software.taken(vector);
        self.software.lapic.deliverable().is_some()
    }

    /// Does what lies outside the VMCS; says if the VM ends.
    #[inline(never)]
    pub(crate) fn carry_out(&mut self, effect: Effect) -> Option<Stop> {
        match effect {
            Effect::None => None,
            Effect::Halt => {
                self.software.halted = true;
                None
            }
            Effect::SetCr2(address) => {
                control::set_cr2(address);
                None
            }
            Effect::SetDr6(bits) => {
                control::set_dr6(vmx::merge_dr6(control::dr6(), bits));
                None
            }
            Effect::SetXcr0(value) => {
                control::set_xcr0(value);
                None
            }
            Effect::FlushLinear { pdptes } => {
                if self.has_vpid {
                    // SAFETY: in VMX root operation, and there is a VPID.
                    unsafe { vmx_ops::invvpid_single(VPID) };
                }
                if pdptes {
                    self.vmx.set_pdptes(&mut self.vmcs, self.software.pdptes);
                }
                None
            }
            Effect::TripleFault => Some(Stop::TripleFault),
            Effect::Stop(stop) => Some(stop),
        }
    }

    /// Logs all that is known of a vCPU whose VM has stopped.
    pub(crate) fn report(&self, vtx: &VtX, name: &str, level: Level) {
        let rip = self.vmcs.read(spec::vmcs::GUEST_RIP);
        let rsp = self.vmcs.read(spec::vmcs::GUEST_RSP);
        let gprs = &self.registers.gprs;
        crate::log::line(
            level,
            name,
            format_args!("vm: rip={rip:#x} rsp={rsp:#x} {gprs}"),
        );
        crate::log::line(
            level,
            name,
            format_args!("vm: {}", vmx::dump(&self.vmcs, &vtx.capabilities)),
        );
        vmx::check(
            &self.vmcs,
            &vtx.capabilities,
            hw::cpuid::address_widths(),
            &mut |failure| {
                crate::log::line(
                    level,
                    name,
                    format_args!("vm: entry rule broken: {failure}"),
                );
            },
        );
    }

    /// Gives back what it held.
    pub(crate) fn end(self, vtx: &mut VtX) {
        if let Err(e) = self.vmcs.clear() {
            crate::error!("vm: VMCLEAR failed: {e}; its frames are lost");
            return;
        }
        for frame in self.frames {
            vtx.memory.free(frame);
        }
    }
}

fn rdtscp(controls: &vmx::Controls) -> bool {
    controls.secondary.contains(SecondaryControls::RDTSCP)
}

fn host_state(core: &Core) -> HostState {
    let s = &core.segments;
    HostState {
        cr0: control::cr0(),
        cr3: control::cr3() & !(PAGE_SIZE - 1),
        cr4: control::cr4(),
        cs: s.cs,
        ss: s.ss,
        ds: s.ss,
        es: s.ss,
        tr: s.tr,
        tr_base: s.tr_base,
        gdtr_base: s.gdtr_base,
        idtr_base: s.idtr_base,
        gs_base: core::ptr::from_ref(core.local) as u64,
        rip: hw::entry::exit_address(),
        efer: control::efer(),
        pat: control::PAT_RESET,
        ..HostState::default()
    }
}
