//! A VM of the plan and what it holds of the machine; from its plan to a state in which its first vCPU can be entered.

use crate::line::{GuestLine, Line};
use crate::machine;
use crate::vtx::VtX;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use devices::Cmos;
use guest_loader::{Image, Module};
use paging::{Ept, Level, Rights, Tables};
use plan::bundle::{Bundle, Handover};
use platform::cpuid::Facts;
use platform::layout::ACPI_AREA;
use platform::{AcpiFacts, CpuidPolicy, MemoryMap, MsrPolicy, reset_vector};
use ram::guest::Slot;
use ram::{Extent, FrameTables, GuestRam};
use seam::{GuestMem, Kick};
use spec::linux::MemoryRange;
use spec::memory_type::MemoryType;
use spec::state::StartState;
use spec::vmx_controls::SecondaryControls;
use spec::vmx_msr::EptVpidCap;
use spec::{Gpa, Hpa};
use vm::life::Life;
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
    /// The core of each vCPU
    pub(crate) cores: Box<[u32]>,
    /// Off, running, and what its vCPUs are to do
    pub(crate) life: Life,
    /// What its vCPUs exit for
    pub(crate) controls: Controls,
    /// The VM
    pub(crate) vm: Vm<GuestRam, GuestLine>,
    /// Its console
    pub(crate) line: &'static Line,
    /// Its nested tables
    pub(crate) nested: Tables<Ept, FrameTables<'static>>,
    e820: Vec<MemoryRange>,
}

/// Kicks the cores of a VM's vCPUs.
struct Cores(Box<[u32]>);

impl Kick for Cores {
    fn kick(&self, vcpu: u32) {
        if let Some(core) = self.0.get(vcpu as usize) {
            machine::kick(*core);
        }
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
        let mut nested = Tables::new(ept, vtx.memory).map_err(|e| alloc::format!("{e:?}"))?;
        let mut memory = GuestRam::new(vtx.memory.window);
        for slot in claim_memory(&vtx.memory, &map)? {
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
        let line: &'static Line = Box::leak(Box::new(Line::default()));
        Ok(Self {
            index,
            vm: Vm::new(
                plan.name.clone(),
                memory,
                policy,
                chips(handover, line),
                plan.vcpus,
                Box::new(Cores(cores.into())),
            ),
            plan: plan.clone(),
            cores: cores.into(),
            life: Life::default(),
            line,
            e820: map.e820(),
            controls,
            nested,
        })
    }

    /// Brings the VM to its power-on state: memory scrubbed, tables and kernel in place, chips reset. Gives the state in
    /// which its first vCPU starts. All its vCPUs rest. `between` is called now and then, since this takes long.
    ///
    /// # Errors
    /// What is wrong with the kernel, in words.
    #[inline(never)]
    pub(crate) fn load(
        &self,
        bundle: &Bundle<'_>,
        between: impl FnMut(),
    ) -> Result<StartState, String> {
        self.vm.memory.scrub(between);
        self.line.forget_input();
        self.vm.reset(chips(bundle.handover(), self.line));
        let firmware = (reset_vector::AT, reset_vector::code().to_vec());
        let facts = AcpiFacts {
            vcpus: self.plan.vcpus as u8,
        };
        for (at, table) in platform::acpi::build(&facts).into_iter().chain([firmware]) {
            self.vm
                .memory
                .write_from(at, &table)
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
        guest_loader::load(&image, &self.e820, ACPI_AREA, &self.vm.memory)
            .map_err(|e| alloc::format!("{}: {e}", self.plan.kernel))
    }

    /// Has the cores of all its vCPUs look at its orders.
    pub(crate) fn kick(&self) {
        for core in &self.cores {
            machine::kick(*core);
        }
    }

    /// Has the core of its first vCPU look at its orders.
    pub(crate) fn kick_first(&self) {
        if let Some(core) = self.cores.first() {
            machine::kick(*core);
        }
    }
}

fn chips(handover: &Handover, line: &'static Line) -> Chips<GuestLine> {
    let clock = &handover.clock;
    Chips::new(
        GuestLine(line),
        Cmos::new(clock.unix_seconds.cast_signed(), clock.at, handover.tsc),
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
fn claim_memory(memory: &FrameTables<'_>, map: &MemoryMap) -> Result<Vec<Slot>, String> {
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
                .take_largest(to - from.0, LARGE_PAGE)
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
                slots.push(Slot {
                    gpa: Gpa(s),
                    host: Extent {
                        start: Hpa(b.host.start.0 + (s - b_start)),
                        len: e - s,
                    },
                });
            }
        }
    }
    Ok(slots)
}
