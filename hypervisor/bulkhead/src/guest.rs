//! A VM of the plan and what it holds of the machine; from its plan to a state in which its first vCPU can be entered.

use crate::line::{GuestLine, Line};
use crate::shares::Shared;
use crate::structures::Structures;
use crate::visible::Visible;
use crate::vtx::VtX;
use crate::{host, lifecycle, seat, watchdog};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use devices::{Cmos, Watchdog};
use guest_loader::{Image, Module};
use paging::{Ept, Level, Rights, Tables};
use plan::bundle::{Bundle, Handover};
use platform::cpuid::Facts;
use platform::layout::ACPI_AREA;
use platform::{AcpiFacts, CpuidPolicy, MemoryMap, MsrPolicy, reset_vector};
use ram::guest::Slot;
use ram::{Extent, FrameTables, GuestRam, Use};
use sched::Id;
use seam::{GuestMem, Kick};
use spec::linux::MemoryRange;
use spec::memory_type::MemoryType;
use spec::state::StartState;
use spec::vmx_controls::SecondaryControls;
use spec::vmx_msr::EptVpidCap;
use spec::{Gpa, Hpa, Hz, Nanos, Vector};
use vm::life::{End, Life};
use vm::{Chips, Policy, Vm};
use vmx::{Controls, Wants};

/// Guest memory is claimed in pieces of the size of a large page, so that large pages map it.
const LARGE_PAGE: u64 = 2 << 20;

/// A VM of the plan, and what it holds of the machine for as long as the machine is up.
pub(crate) struct Guest {
    /// Its number in the plan
    pub(crate) index: u32,
    /// What the plan says of it
    pub(crate) plan: plan::Vm,
    /// The cores that its vCPUs are on
    pub(crate) places: Places,
    /// What the processor reads for its vCPUs
    pub(crate) structures: Structures,
    /// What others may see of each vCPU
    pub(crate) visible: Box<[Visible]>,
    /// What each vCPU may have of the pool
    pub(crate) share: Shared,
    /// Off, running, and what its vCPUs are to do
    pub(crate) life: Life,
    /// When it was last reported on in full; zero for never
    pub(crate) reported: AtomicU64,
    /// What its vCPUs exit for
    pub(crate) controls: Controls,
    /// The VM
    pub(crate) vm: Vm<GuestRam, GuestLine>,
    /// Its console
    pub(crate) line: &'static Line,
    /// The frequency of its time-stamp counter
    pub(crate) tsc: Hz,
    e820: Vec<MemoryRange>,
    /// ACPI tables and the code at the reset vector, made once, since that takes long
    tables: Vec<(Gpa, Vec<u8>)>,
}

/// Where a VM's vCPUs are.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// Number of the VM
    vm: u32,
    /// Number of the first vCPU among those of the machine
    first: u16,
    cores: &'static [AtomicU32],
}

impl Places {
    /// The core that a vCPU is on.
    pub(crate) fn of(self, vcpu: u32) -> u32 {
        let core = self.cores.get(vcpu as usize);
        core.map_or(0, |core| core.load(Ordering::Relaxed))
    }

    /// A vCPU goes to another core.
    pub(crate) fn set(self, vcpu: u32, core: u32) {
        if let Some(place) = self.cores.get(vcpu as usize) {
            place.store(core, Ordering::Relaxed);
            // With the one in `kick`: whoever still sees the old place has left there before this what the next core sees after it.
            fence(Ordering::SeqCst);
        }
    }
}

impl Kick for Places {
    fn kick(&self, vcpu: u32) {
        // What was left for the vCPU comes before the look at its place: if the place is old, the vCPU's next core looks at all
        // that was left.
        fence(Ordering::SeqCst);
        seat::wake(self.of(vcpu), u32::from(self.first) + vcpu, self.vm);
    }

    fn notify(&self, core: u32) {
        hw::apic::send_fixed(core, host::POSTED);
    }

    fn raise(&self, core: u32, vector: Vector) {
        hw::apic::send_fixed(core, vector);
    }

    fn watch(&self) {
        watchdog::kick();
    }
}

impl Guest {
    /// Claims memory for a VM and maps it: exactly what its memory map calls RAM, and nothing else.
    ///
    /// # Errors
    /// What the machine does not have, in words.
    #[inline(never)]
    pub(crate) fn claim(
        vtx: &VtX,
        (index, plan): (u32, &plan::Vm),
        first: u16,
        cores: &[u32],
        handover: &Handover,
    ) -> Result<Self, String> {
        let controls = vmx::controls::select(
            &vtx.capabilities,
            &Wants {
                rdtscp: true,
                invpcid: true,
                ..Wants::default()
            },
        );
        let policy = policy(&controls, plan.vcpus, handover);
        let map = MemoryMap::new(plan.memory, policy.cpuid.address_bits())
            .map_err(|e| alloc::format!("its memory: {e:?}"))?;
        let ept = Ept {
            largest: if vtx.capabilities.ept_vpid.contains(EptVpidCap::PAGE_1G) {
                Level::GIB_1
            } else if vtx.capabilities.ept_vpid.contains(EptVpidCap::PAGE_2M) {
                Level::MIB_2
            } else {
                Level::KIB_4
            },
            execute_only: false,
        };
        // A plan has no more than 64 VMs.
        let number = index as u16;
        let tables = vtx.memory.to_use(Use::NestedTables(number));
        let mut nested = Tables::new(ept, tables).map_err(|e| alloc::format!("{e:?}"))?;
        let mut memory = GuestRam::new(vtx.memory.window);
        for slot in claim_memory(&vtx.memory, &map, number)? {
            if !memory.add(slot) {
                return Err("the machine's memory is in too many pieces".into());
            }
            nested
                .map(
                    slot.gpa,
                    slot.host.start,
                    slot.host.len,
                    Rights::RWX,
                    MemoryType::WriteBack,
                )
                .map_err(|e| alloc::format!("nested tables cannot be built: {e:?}"))?;
        }
        let structures = Structures::new(vtx, &policy.msrs, nested.root(), (number, plan.vcpus))?;
        let line: &'static Line = Box::leak(Box::new(Line::default()));
        let places = Places {
            vm: index,
            first,
            cores: Vec::leak(cores.iter().map(|core| AtomicU32::new(*core)).collect()),
        };
        Ok(Self {
            index,
            places,
            structures,
            visible: (0..plan.vcpus).map(|_| Visible::default()).collect(),
            share: Shared::new(plan, cores),
            vm: Vm::new(
                plan.name.clone(),
                memory,
                policy,
                chips(handover, line, watchdog::chip(plan, handover.tsc, false)),
                plan.vcpus,
                Box::new(places),
            ),
            plan: plan.clone(),
            life: Life::new(lifecycle::policy(&plan.recovery, handover.tsc)),
            reported: AtomicU64::new(0),
            line,
            tsc: handover.tsc,
            e820: map.e820(),
            tables: self::tables(plan),
            controls,
        })
    }

    /// Brings the chips to their power-on state. All its vCPUs rest.
    pub(crate) fn reset(&self, handover: &Handover) {
        self.line.forget_input();
        self.visible.iter().for_each(Visible::clear);
        let expired = self.life.last_end() == Some(End::Watchdog);
        let watchdog = watchdog::chip(&self.plan, self.tsc, expired);
        self.vm.reset(chips(handover, self.line, watchdog));
    }

    /// Puts what belongs to a VM's power-on state into `memory`. Gives the state in which its first vCPU starts.
    ///
    /// # Errors
    /// What is wrong with the kernel, in words.
    #[inline(never)]
    pub(crate) fn prepare(
        &self,
        bundle: &Bundle<'_>,
        memory: &impl GuestMem,
    ) -> Result<StartState, String> {
        for (at, table) in &self.tables {
            memory
                .write_from(*at, table)
                .map_err(|_| "the ACPI tables lie outside the guest's memory")?;
        }
        let file = |path: &str| {
            bundle
                .file(path)
                .ok_or_else(|| alloc::format!("{path} is not in the bundle"))
        };
        let modules = self
            .plan
            .modules
            .iter()
            .map(|module| {
                Ok(Module {
                    bytes: file(&module.path)?,
                    cmdline: &module.cmdline,
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        let image = Image {
            format: self.plan.format,
            kernel: file(&self.plan.kernel)?,
            initrd: self.plan.initrd.as_deref().map(file).transpose()?,
            cmdline: &self.plan.cmdline,
            modules: &modules,
        };
        guest_loader::load(&image, &self.e820, ACPI_AREA, memory)
            .map_err(|e| alloc::format!("{}: {e}", self.plan.kernel))
    }

    /// The number of a vCPU among those of the machine.
    pub(crate) fn id(&self, vcpu: u32) -> Id {
        // A plan has no more than 64 VMs of 64 vCPUs.
        Id(self.places.first + vcpu as u16)
    }

    /// What others may see of a vCPU. Indices are ours; the first stands in for one that cannot be.
    #[expect(clippy::indexing_slicing, reason = "a VM has one vCPU at least")]
    pub(crate) fn visible(&self, vcpu: u32) -> &Visible {
        // A plan gives each VM at least one.
        self.visible.get(vcpu as usize).unwrap_or(&self.visible[0])
    }

    /// The cores that its vCPUs are on.
    pub(crate) fn cores(&self) -> Vec<u32> {
        (0..self.plan.vcpus)
            .map(|vcpu| self.places.of(vcpu))
            .collect()
    }

    /// Has the cores of all its vCPUs look at its orders.
    pub(crate) fn kick(&self) {
        (0..self.plan.vcpus).for_each(|vcpu| self.kick_one(vcpu));
    }

    /// An interrupt of a vCPU has arrived in the local APIC that was lent to it, after that had been taken back.
    pub(crate) fn came_late(&self, vcpu: u32, vector: Vector) {
        let mailbox = self.vm.mailboxes.get(vcpu as usize);
        if mailbox.is_some_and(|mailbox| mailbox.late(vector)) {
            self.places.kick(vcpu);
        }
    }

    /// Has the core of a vCPU look at its orders.
    pub(crate) fn kick_one(&self, vcpu: u32) {
        // As in `Places::kick`.
        fence(Ordering::SeqCst);
        seat::order(self.places.of(vcpu), self.id(vcpu).0.into());
    }
}

fn tables(plan: &plan::Vm) -> Vec<(Gpa, Vec<u8>)> {
    let facts = AcpiFacts {
        vcpus: plan.vcpus as u8,
        watchdog: plan
            .watchdog
            .map(|longest| Watchdog::periods(Nanos(longest))),
    };
    let firmware = (reset_vector::AT, reset_vector::code().to_vec());
    platform::acpi::build(&facts)
        .into_iter()
        .chain([firmware])
        .collect()
}

fn chips(handover: &Handover, line: &'static Line, watchdog: Option<Watchdog>) -> Chips<GuestLine> {
    let clock = &handover.clock;
    Chips::new(
        GuestLine(line),
        Cmos::new(clock.unix_seconds.cast_signed(), clock.at, handover.tsc),
        watchdog,
    )
}

fn policy(controls: &Controls, vcpus: u32, handover: &Handover) -> Policy {
    let has = |c| controls.secondary.contains(c);
    let cpuid = CpuidPolicy::new(
        &hw::cpuid::leaf,
        Facts {
            tsc: handover.tsc,
            vcpus: vcpus as u8,
            // IA32_XSS stays the host's, so no guest may use what hangs on it.
            xsaves: false,
            invpcid: has(SecondaryControls::INVPCID),
            rdtscp: has(SecondaryControls::RDTSCP),
        },
    );
    Policy {
        msrs: MsrPolicy::new(&cpuid),
        cpuid,
    }
}

/// Takes host memory for each range of the guest's, in the fewest pieces. Guest and host addresses agree modulo the
/// size of a large page.
fn claim_memory(memory: &FrameTables<'_>, map: &MemoryMap, vm: u16) -> Result<Vec<Slot>, String> {
    let mut slots = Vec::new();
    // Spans of whole large pages that hold the ranges; ranges of one span share host memory.
    let mut done = Gpa(0);
    let mut backing: Vec<Slot> = Vec::new();
    for (start, len) in map.backed() {
        let (start, end) = (start.0, start.0 + len);
        let mut from = Gpa(start).align_down(LARGE_PAGE).max(done);
        let to = end.next_multiple_of(LARGE_PAGE);
        while from.0 < to {
            let host = memory
                .frames
                .lock()
                .take_largest(to - from.0, LARGE_PAGE, Use::Reserved(vm))
                .ok_or_else(|| {
                    alloc::format!(
                        "{} MiB of guest memory are not to be had",
                        (to - from.0) >> 20
                    )
                })?;
            backing.push(Slot { gpa: from, host });
            from.0 += host.len;
        }
        done = done.max(from);
        for b in &backing {
            let (b_start, b_end) = (b.gpa.0, b.gpa.0 + b.host.len);
            let (s, e) = (start.max(b_start), end.min(b_end));
            if s < e {
                let host = Extent {
                    start: Hpa(b.host.start.0 + (s - b_start)),
                    len: e - s,
                };
                memory.frames.lock().reuse(host, Use::Ram(vm));
                slots.push(Slot { gpa: Gpa(s), host });
            }
        }
    }
    Ok(slots)
}
