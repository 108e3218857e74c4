//! One vCPU on metal: its control structure, its registers, and the software half in `vm`.
// UNSAFETY: makes a VMCS current, loads registers that guests own, invalidates cached translations.
#![allow(unsafe_code)]

mod presence;
mod report;
mod sleep;

use crate::carrier::Carrying;
use crate::guest::Guest;
use crate::host::Core;
use crate::loading::Loading;
use crate::visible::Visible;
use crate::vtx::VtX;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use exits::{Event, Stop};
use hw::control;
use hw::entry::Registers;
use hw::extended_state::ExtendedState;
use hw::guest_msrs::GuestRegisters;
use hw::vmx_ops::{self, CurrentVmcs};
use presence::{Away, host_state};
use report::Report;
use sched::Id;
use sleep::Deaf;
use spec::Ticks;
use spec::apic::Carrier;
use spec::cpu::Cr4;
use spec::state::{Activity, StartState};
use spec::vmx_controls::SecondaryControls;
use vm::{Mailbox, Wants};
use vmx::{Effect, HostState, Setup};

/// A vCPU that this core runs.
pub(crate) struct Vcpu {
    /// Whose it is
    pub(crate) guest: &'static Guest,
    /// The software half
    pub(crate) software: vm::Vcpu,
    /// The VT-x half; none before its first start
    pub(crate) vmx: Option<vmx::Vcpu>,
    /// Its control structure
    pub(crate) vmcs: CurrentVmcs,
    /// General registers
    pub(crate) registers: Registers,
    /// The start of its VM that it belongs to
    pub(crate) generation: u32,
    /// It has not come to rest
    pub(crate) on: bool,
    /// Its VM is paused
    pub(crate) held: bool,
    /// Its VM is being loaded, in its turns
    pub(crate) loading: Option<Box<Loading>>,
    /// What is still to be told of it, before it rests
    pub(crate) report: Option<Report>,
    /// The version of its VM's share that its scheduler knows
    pub(crate) share_version: u32,
    /// How often it has gone to another core
    pub(crate) moves: u64,
    /// Who carries its local APIC
    pub(crate) carrying: Carrying,
    away: Box<Away>,
    host: HostState,
    has_vpid: bool,
    /// What cannot wake it while it is halted
    deaf: Deaf,
    /// The preemption timer's field holds a deadline, not the longest time there is
    timer_set: bool,
}

impl Vcpu {
    /// Makes the vCPU `index` of a guest, as yet without a state.
    ///
    /// # Errors
    /// What went wrong, in words.
    #[inline(never)]
    pub(crate) fn new(
        vtx: &VtX,
        core: &Core,
        guest: &'static Guest,
        index: u32,
        carrying: Carrying,
    ) -> Result<Self, String> {
        let regions = &guest.structures.regions;
        let region = *regions
            .get(index as usize)
            .ok_or("it has no control structure")?;
        let policy = &guest.vm.policy;
        // SAFETY: in VMX root operation as long as `vtx` is there; each vCPU is made once, with frames of its own.
        let vmcs = unsafe { CurrentVmcs::new(region) }.map_err(|e| e.to_string())?;
        Ok(Self {
            guest,
            software: vm::Vcpu::new(index, policy.cpuid.timer_shift() as u8),
            vmx: None,
            vmcs,
            registers: Registers::default(),
            generation: 0,
            on: false,
            held: false,
            loading: None,
            report: None,
            share_version: 0,
            moves: 0,
            away: Box::new(Away {
                extended: ExtendedState::new(),
                registers: GuestRegisters::reset_state(rdtscp(guest)),
            }),
            carrying,
            host: host_state(core),
            has_vpid: vtx.has_vpid(),
            deaf: Deaf::default(),
            timer_set: false,
        })
    }

    /// Begins anew, in a new generation of its VM: the first vCPU in `start`, another one waiting for its start-up IPI. Its control
    /// structure is current.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) fn begin(
        &mut self,
        vtx: &VtX,
        generation: u32,
        start: Option<&StartState>,
    ) -> Result<(), String> {
        let policy = &self.guest.vm.policy;
        self.software = vm::Vcpu::new(self.software.index, policy.cpuid.timer_shift() as u8);
        self.vmx = None;
        self.generation = generation;
        self.on = true;
        self.held = false;
        // Nothing is left of whoever had these before.
        self.away.extended.reset();
        self.away.registers = GuestRegisters::reset_state(rdtscp(self.guest));
        self.registers.spec_ctrl = 0;
        self.carrying.begin();
        match start {
            Some(start) => {
                self.begins();
                self.set_up(vtx, start)
            }
            None => Ok(()),
        }
    }

    /// Begins at the page that a start-up IPI names.
    ///
    /// # Errors
    /// What went wrong, in words.
    #[inline(never)]
    pub(crate) fn start_up(&mut self, vtx: &VtX, vector: u8) -> Result<(), String> {
        let start = self.guest.vm.start_up(vector);
        match self.vmx.as_mut() {
            Some(vmx) => {
                let effect = vmx.start_up(&mut self.vmcs, &start);
                self.registers.gprs = start.gprs;
                self.deaf = Deaf::default();
                // It ends no VM.
                let _ = self.carry_out(effect);
            }
            None => self.set_up(vtx, &start)?,
        }
        hw::guest_msrs::init_debug_registers();
        control::set_cr2(0);
        self.software.started_up();
        self.begins();
        Ok(())
    }

    fn set_up(&mut self, vtx: &VtX, start: &StartState) -> Result<(), String> {
        // Launched or not, which is not known of one whose first entry failed: it is not from now on.
        self.detach()?;
        self.make_current()?;
        self.registers.forget_core();
        let (policy, vpid) = (&self.guest.vm.policy, self.vpid());
        self.vmx = Some(vmx::setup::initialise(
            &mut self.vmcs,
            &Setup {
                controls: &self.guest.controls,
                start,
                pat: control::PAT_RESET,
                guest_cr4: (policy.cpuid.cr4() - Cr4::OSXSAVE).bits(),
                physical_bits: policy.cpuid.address_bits(),
                tsc_offset: self.software.tsc_offset(),
                vpid,
                host: &self.host,
                pointers: self.guest.structures.pointers,
            },
        ));
        self.registers.gprs = start.gprs;
        self.timer_set = false;
        self.deaf = Deaf::default();
        vtx.forget_translations();
        let mut broken = false;
        vmx::check(
            &self.vmcs,
            &vtx.capabilities,
            hw::cpuid::address_widths(),
            &mut |failure| {
                broken = true;
                crate::error!("vm: entry rule broken: {failure}");
            },
        );
        if broken {
            return Err("its control structure breaks the rules for VM entry".into());
        }
        Ok(())
    }

    /// Its number among the vCPUs of the machine.
    pub(crate) fn id(&self) -> Id {
        self.guest.id(self.software.index)
    }

    /// Its VM's number and its own.
    pub(crate) fn who(&self) -> (u32, u32) {
        (self.guest.index, self.software.index)
    }

    /// No other vCPU of the machine has the same, and zero is the host's.
    fn vpid(&self) -> u16 {
        self.id().0 + 1
    }

    /// What was in the control structure's field for the preemption timer is not known any more.
    pub(crate) fn forget_timer(&mut self) {
        self.timer_set = true;
    }

    /// It begins to run from the beginning.
    fn begins(&self) {
        let now = hw::tsc::now();
        self.guest.vm.statistics(&self.software).begin(now);
        self.visible().begin(now, self.guest);
    }

    /// What others may see of it.
    pub(crate) fn visible(&self) -> &'static Visible {
        self.guest.visible(self.software.index)
    }

    /// Where others leave things for it.
    pub(crate) fn mailbox(&self) -> &'static Mailbox {
        self.guest.vm.mailbox(&self.software)
    }

    /// Puts into the VMCS what the next entry delivers, and the time at which it must end: `limit` at the latest. `false` if the vCPU
    /// sleeps and nothing wakes it, or has to be started first.
    #[inline]
    pub(crate) fn prepare(
        &mut self,
        core: &mut Core,
        mailbox: &Mailbox,
        now: Ticks,
        limit: Ticks,
    ) -> bool {
        if self.software.unsettled {
            self.settle(core, now);
        }
        let wants = self.software.wants(mailbox, now);
        let Some(vmx) = self.vmx.as_mut() else {
            return false;
        };
        let window = wants.any() && deliver(vmx, &mut self.vmcs, &mut self.software, wants);
        if self.carrying.now == Carrier::Software {
            vmx.request_interrupt_window(&mut self.vmcs, window);
        } else if self.has_to_hand_over() {
            self.hand_over(core);
        }
        if self.software.activity != Activity::Active {
            return false;
        }
        let Some(vmx) = self.vmx.as_mut() else {
            return false;
        };
        let deadline = core.latest(self.software.deadline());
        let deadline = deadline.map_or(limit, |d| d.min(limit));
        // The timer starts anew from its field at each entry, so a deadline needs a write each time; none needs only one.
        let set = deadline != FOREVER;
        if set {
            vmx.set_timer(&mut self.vmcs, deadline.since(now));
        } else if self.timer_set {
            vmx.set_timer(&mut self.vmcs, FOREVER);
        }
        self.timer_set = set;
        true
    }

    /// Does what lies outside the VMCS; says if the VM ends.
    #[inline(never)]
    pub(crate) fn carry_out(&mut self, effect: Effect) -> Option<Stop> {
        match effect {
            Effect::None => None,
            Effect::Halt => {
                self.fall_asleep();
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
                    unsafe { vmx_ops::invvpid_single(self.vpid()) };
                }
                if pdptes && let Some(vmx) = self.vmx.as_mut() {
                    vmx.set_pdptes(&mut self.vmcs, self.software.pdptes);
                }
                None
            }
            Effect::TripleFault => Some(Stop::TripleFault),
            Effect::Stop(stop) => Some(stop),
        }
    }
}

/// A time that does not come.
pub(crate) const FOREVER: Ticks = Ticks(u64::MAX);

/// Puts an event into the VMCS if the guest can take it now; says whether to exit as soon as it can take another interrupt.
#[inline(never)]
fn deliver(
    vmx: &mut vmx::Vcpu,
    vmcs: &mut CurrentVmcs,
    software: &mut vm::Vcpu,
    wants: Wants,
) -> bool {
    if wants.nmi {
        if vmx.can_take_nmi(vmcs) {
            let _ = vmx.inject(vmcs, Event::Nmi);
            software.nmi_taken();
        }
        vmx.request_nmi_window(vmcs, software.nmi_waits());
    }
    let Some(vector) = wants.interrupt else {
        return false;
    };
    if !vmx.can_take_interrupt(vmcs) {
        return true;
    }
    let _ = vmx.inject(vmcs, Event::Interrupt(vector));
    software.taken(vector);
    software.lapic.deliverable().is_some()
}

fn rdtscp(guest: &Guest) -> bool {
    guest.controls.secondary.contains(SecondaryControls::RDTSCP)
}
