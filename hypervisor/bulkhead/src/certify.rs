//! What can be reached from where: collects what crate `survey` reads out of the structures that the processors go by.
//!
//! The first core does it for whoever asks, in pieces: the hypervisor's side, a VM's nested tables, a vCPU. It goes through the tables and
//! bitmaps itself, since they stay where they are; registers and control structures are told by the cores that hold them.
//!
//! A VM of 16 MiB takes the first core some 60,000 ticks, a vCPU as many, most of them for bitmaps; the hypervisor's own tables, of which
//! there are thirty, half a million. A core that holds a vCPU spends some forty VMREADs on it.

use crate::desk::{self, Question, Seen, Told};
use crate::guest::Guest;
use crate::machine::Machine;
use crate::memory::{self, Roots};
use crate::{boot, seat};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use hw::control;
use proto::Answer;
use proto::certificate::{
    CoreSurvey, Device, HostSurvey, MOST, Mapping, MemoryKind, MemoryRange, Owned, Part, Range,
    Survey, Use, VmSurvey,
};
use ram::FrameTables;
use spec::{Hpa, PAGE_SIZE};
use survey::{Frame, Half, Memory, Reached, Whose, linear, nested};

/// How often a vCPU is followed that has just gone to another core.
const TRIES: usize = 4;

/// What is known of memory since the machine came up.
pub(crate) struct Layout {
    known: Vec<MemoryRange>,
    roots: Roots,
    devices: Vec<Device>,
    window: u64,
    /// Frames below 1 MiB in which other cores have come up
    low: Option<[Hpa; 2]>,
    /// What lies in the loader's memory, each with its first linear address and one past the last
    loaded: [(Use, u64, u64); 3],
    /// Frames, and how they are reached
    pub(crate) memory: FrameTables<'static>,
}

impl Layout {
    /// As the loader left it, and with what has been made since.
    pub(crate) fn new(
        loader: boot::Machine,
        space: memory::AddressSpace,
        memory: FrameTables<'static>,
    ) -> Self {
        let (roots, devices) = space.made();
        let bundle = loader.bundle.as_ptr_range();
        let (stack, len) = loader.stack;
        let (image, image_end) = memory::image();
        Self {
            known: loader.known,
            roots,
            devices,
            window: loader.window as u64,
            low: loader.low,
            loaded: [
                (Use::Image, image, image_end),
                (Use::Stack, stack, stack + len),
                (Use::Bundle, bundle.start as u64, bundle.end as u64),
            ],
            memory,
        }
    }

    /// What all frames are used for that were ever free.
    fn taken(&self) -> Vec<Owned> {
        let frames = self.memory.frames.lock();
        let owned = frames.owned().iter().map(|o| (o.extent, shown(o.used)));
        let free = frames.extents().iter().map(|e| (*e, Use::Free));
        let all = owned.chain(free).map(|(extent, used)| Owned {
            range: range(extent.start.0, extent.len),
            used,
        });
        all.collect()
    }

    /// The memory in which there may be tables and bitmaps. Nowhere else is anything read: what is the heap's or a stack's is reached
    /// as what it is.
    fn readable(&self) -> Readable {
        let not_plain = |used| matches!(used, Use::Heap | Use::Stack);
        let plain = self.taken().into_iter().filter(|o| !not_plain(o.used));
        Readable {
            memory: self.memory,
            ranges: survey::merged(plain.map(|o| o.range).collect()),
        }
    }

    /// What all memory is used for; `own` is where our linear addresses lead.
    fn owned(&self, machine: &Machine, own: &[Mapping]) -> Vec<Owned> {
        let usable = |m: &&MemoryRange| m.kind == MemoryKind::Usable;
        let low = self.known.iter().filter(usable).filter_map(|m| {
            let end = (m.range.start + m.range.len).min(boot::LOW_MEMORY);
            let len = end.checked_sub(m.range.start)?;
            let used = Use::LowMemory;
            (len != 0).then_some(Owned {
                range: range(m.range.start, len),
                used,
            })
        });
        let mut all = self.taken();
        all.extend(low);
        for (used, from, to) in self.loaded {
            let pages = (from & !(PAGE_SIZE - 1), to.next_multiple_of(PAGE_SIZE));
            let ranges = survey::behind(own, pages.0, pages.1).into_iter();
            all.extend(ranges.map(|range| Owned { range, used }));
        }
        // What lies in what has another use.
        let mut inner = Vec::new();
        for low in self.low.iter().flatten() {
            inner.push(Owned {
                range: range(low.0, PAGE_SIZE),
                used: Use::StartUp,
            });
        }
        for guest in &machine.guests {
            let vm = number(guest);
            inner.extend(guest.structures.pages.iter().map(|page| Owned {
                range: range(memory::physical(page).0, PAGE_SIZE),
                used: Use::VirtualApic { vm },
            }));
        }
        survey::composed(&all, inner)
    }
}

/// Tells what was asked for, or says why not. `tell` has this core, the first, tell what it alone knows.
pub(crate) fn answer(machine: &Machine, part: Part, tell: &mut dyn FnMut()) -> Answer {
    let told = match part {
        Part::Host => host(machine, tell).map(Survey::Host),
        Part::Vm { vm } => guest(machine, vm).and_then(|guest| of_vm(machine, guest)),
        Part::Vcpu { vm, vcpu } => {
            guest(machine, vm).and_then(|guest| of_vcpu(machine, guest, vcpu, tell))
        }
    };
    match told {
        Ok(survey) if survey.size() <= MOST => Answer::Survey(Box::new(survey)),
        Ok(survey) => Answer::Refused(format!(
            "What can be reached there takes {} bytes to tell, of which a line takes {MOST}.",
            survey.size()
        )),
        Err(why) => Answer::Refused(why),
    }
}

fn guest(machine: &Machine, vm: u16) -> Result<&Guest, String> {
    machine.guests.get(usize::from(vm)).ok_or_else(|| {
        format!(
            "There is no VM number {vm}; the plan has {}.",
            machine.guests.len()
        )
    })
}

/// A VM's number in the plan, which has no more than 64.
const fn number(guest: &Guest) -> u16 {
    guest.index as u16
}

fn host(machine: &Machine, tell: &mut dyn FnMut()) -> Result<HostSurvey, String> {
    let layout = &machine.layout;
    let readable = layout.readable();
    let read = |root: Hpa, half, what: &str| {
        linear(&readable, root.0, control::pat(), half)
            .map_err(|e| format!("The tables {what} cannot be read: {e}."))
    };
    let own = read(layout.roots.own, Half::Both, "of the hypervisor")?;
    let lower = |root: Option<Hpa>, what| match root {
        Some(root) if !shares_upper_half(&readable, root, layout.roots.own) => Err(format!(
            "The tables {what} have another upper half than the hypervisor's."
        )),
        Some(root) => read(root, Half::Lower, what),
        None => Ok(Reached::default()),
    };
    let firmware = lower(layout.roots.firmware, "for calls of the firmware")?;
    let start_up = lower(layout.roots.start_up, "of other cores' start-up")?;
    let mut cores = Vec::new();
    for (number, _) in (0..).zip(seat::all()).filter(|(_, seat)| seat.is_up()) {
        cores.push(registers(number, tell)?);
    }
    let owned = layout.owned(machine, &own.mappings);
    Ok(HostSurvey {
        memory: layout.known.clone(),
        owned,
        host: own.mappings,
        host_root: layout.roots.own.0,
        host_tables: survey::merged([own.tables, firmware.tables, start_up.tables].concat()),
        firmware: firmware.mappings,
        window: layout.window,
        devices: layout.devices.clone(),
        cores,
        vms: machine.guests.len() as u16,
    })
}

/// Whether the upper half of the tables at `root` is, as far as they have one, that of those at `own`.
fn shares_upper_half(memory: &impl Memory, root: Hpa, own: Hpa) -> bool {
    // The processor sets it in the one or the other.
    const ACCESSED: u64 = 1 << 5;
    let (mut theirs, mut ours) = ([0; 512], [0; 512]);
    let same = |(theirs, ours): (&u64, &u64)| *theirs == 0 || (theirs ^ ours) & !ACCESSED == 0;
    memory.read(root.0, &mut theirs)
        && memory.read(own.0, &mut ours)
        && theirs.iter().zip(&ours).skip(256).all(same)
}

fn registers(core: u32, tell: &mut dyn FnMut()) -> Result<CoreSurvey, String> {
    match desk::ask(core, Question::Core, tell) {
        Some(Told::Core(registers)) => Ok(registers),
        _ => Err(format!("Core {core} does not answer now; ask again.")),
    }
}

fn of_vm(machine: &Machine, guest: &Guest) -> Result<Survey, String> {
    let eptp = guest.structures.pointers.eptp.bits();
    let name = guest.vm.name.clone();
    let reached = nested(&machine.layout.readable(), eptp)
        .map_err(|e| format!("The nested tables of {name} cannot be read: {e}."))?;
    Ok(Survey::Vm(VmSurvey {
        vm: number(guest),
        name,
        nested_root: eptp & !(PAGE_SIZE - 1),
        nested: reached.mappings,
        nested_tables: reached.tables,
        vcpus: guest.plan.vcpus,
    }))
}

fn of_vcpu(
    machine: &Machine,
    guest: &Guest,
    vcpu: u32,
    tell: &mut dyn FnMut(),
) -> Result<Survey, String> {
    let name = &guest.vm.name;
    if vcpu >= guest.plan.vcpus {
        return Err(format!(
            "{name} has no vCPU {vcpu}; it has {}.",
            guest.plan.vcpus
        ));
    }
    let (core, seen) = find(guest, vcpu, tell)?;
    let (vm, vmcs) = (number(guest), seen.vmcs.0);
    let Some(control) = seen.control else {
        return Ok(Survey::Unstarted { vm, vcpu, vmcs });
    };
    let whose = Whose {
        vm,
        vcpu,
        core,
        carrier: seen.carrier.to_string(),
        vmcs,
    };
    control
        .survey(&machine.layout.readable(), whose)
        .map(Survey::Vcpu)
        .map_err(|e| format!("The bitmaps of {name}'s vCPU {vcpu} cannot be read: {e}."))
}

/// Has the core that holds a vCPU tell of it; says which that was.
fn find(guest: &Guest, vcpu: u32, tell: &mut dyn FnMut()) -> Result<(u32, Seen), String> {
    let name = &guest.vm.name;
    for _ in 0..TRIES {
        let core = guest.places.of(vcpu);
        match desk::ask(core, Question::Vcpu(guest.id(vcpu)), tell) {
            Some(Told::Vcpu(seen)) => return Ok((core, seen)),
            Some(Told::Failed) => {
                return Err(format!(
                    "The control structure of {name}'s vCPU {vcpu} cannot be read."
                ));
            }
            Some(_) => {}
            None => return Err(format!("Core {core} does not answer now; ask again.")),
        }
    }
    Err(format!(
        "{name}'s vCPU {vcpu} goes from core to core; ask again."
    ))
}

/// Physical memory where there may be tables.
struct Readable {
    memory: FrameTables<'static>,
    ranges: Vec<Range>,
}

impl Memory for Readable {
    fn read(&self, at: u64, words: &mut Frame) -> bool {
        let next = self.ranges.partition_point(|r| r.start <= at);
        let range = next.checked_sub(1).and_then(|i| self.ranges.get(i));
        range.is_some_and(|r| at - r.start < r.len) && self.memory.read_frame(Hpa(at), words)
    }
}

const fn range(start: u64, len: u64) -> Range {
    Range { start, len }
}

const fn shown(used: ram::Use) -> Use {
    match used {
        ram::Use::Heap => Use::Heap,
        ram::Use::HostTables => Use::HostTables,
        ram::Use::Stack => Use::Stack,
        ram::Use::VmxRegion => Use::VmxRegion,
        ram::Use::Ram(vm) => Use::Ram { vm },
        ram::Use::Reserved(vm) => Use::Reserved { vm },
        ram::Use::NestedTables(vm) => Use::NestedTables { vm },
        ram::Use::Vmcs(vm) => Use::Vmcs { vm },
        ram::Use::Bitmap(vm) => Use::Bitmap { vm },
        ram::Use::Lost => Use::Lost,
    }
}
