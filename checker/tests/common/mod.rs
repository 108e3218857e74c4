//! Machines that are as they should be, of any shape.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(dead_code, reason = "not every test needs all of it")]

pub(crate) mod faults;
mod guests;
mod processor;

use checker::Whole;
use plan::{Facts, Plan};
use proptest::prelude::*;
use proto::certificate::{
    Cache, Device, HostSurvey, Mapping, MemoryKind, MemoryRange, Owned, Range, Use,
};

pub(crate) const FRAME: u64 = 4096;
/// Where the machine maps all memory.
pub(crate) const WINDOW: u64 = 0xffff_8800_0000_0000;
pub(crate) const LOCAL_APIC: u64 = 0xfee0_0000;
/// The firmware's memory that is mapped for calls.
pub(crate) const RUNTIME: Range = range(0x500_0000, 0x100_0000);
/// Its tables, which are read.
pub(crate) const ACPI: Range = range(0x600_0000, 0x10_0000);
const LOADER: Range = range(0x400_0000, 0x100_0000);
/// Memory of VMs.
const HIGH: u64 = 1 << 32;
const IMAGE: u64 = 0xffff_ffff_8000_0000;
const CODE: u64 = 64 * FRAME;
const DATA: u64 = 16 * FRAME;
const STACKS: u64 = 0xffff_fd00_0000_0000;
const DEVICES: u64 = 0xffff_fe00_0000_0000;

pub(crate) const R: [bool; 3] = [true, false, false];
pub(crate) const RW: [bool; 3] = [true, true, false];
pub(crate) const RX: [bool; 3] = [true, false, true];
pub(crate) const RWX: [bool; 3] = [true; 3];

pub(crate) const fn range(start: u64, len: u64) -> Range {
    Range { start, len }
}

pub(crate) const fn mapping(
    at: u64,
    frame: u64,
    len: u64,
    rights: [bool; 3],
    cache: Cache,
) -> Mapping {
    let [read, write, execute] = rights;
    Mapping {
        at,
        frame,
        len,
        read,
        write,
        execute,
        cache,
    }
}

/// What differs between machines.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) vms: Vec<VmShape>,
    /// The last vCPU has not been started
    pub(crate) sleeper: bool,
    /// Processors fix bits of the controls to 1
    pub(crate) old: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct VmShape {
    /// In large pages of 2 MiB
    pub(crate) memory: u64,
    pub(crate) vcpus: u32,
    /// It has cores of its own
    pub(crate) own: bool,
    /// What carries its local APICs where the plan allows it: 0 the hypervisor, 1 a page, 2 the core's
    pub(crate) carrier: u8,
    /// Its RAM is in two pieces, of which the first has so many large pages
    pub(crate) cut: u64,
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let vm = (
        2u64..40,
        1u32..4,
        any::<bool>(),
        0u8..3,
        1u64..40,
        any::<bool>(),
    );
    let vm = vm.prop_map(|(memory, vcpus, own, carrier, cut, large)| VmShape {
        // Some go on above the hole below 4 GiB.
        memory: if large { memory + 1536 } else { memory },
        vcpus,
        own,
        carrier,
        cut,
    });
    let vms = prop::collection::vec(vm, 2..5);
    (vms, any::<bool>(), any::<bool>()).prop_map(|(vms, sleeper, old)| Shape { vms, sleeper, old })
}

/// The plan of a shape: VMs with cores of their own have them from core 1 on, the others share core 0.
pub(crate) fn plan(shape: &Shape) -> Plan {
    let mut next = 1;
    let mut text = String::new();
    for (name, vm) in ["alpha", "bravo", "charlie", "delta"]
        .iter()
        .zip(&shape.vms)
    {
        let mebibytes = vm.memory * 2;
        text += &format!(
            "[[vm]]\nname = \"{name}\"\nkernel = \"k\"\nmemory = \"{mebibytes} MiB\"\nvcpus = {}\n",
            vm.vcpus
        );
        if vm.own {
            let cores: Vec<u32> = (next..next + vm.vcpus).collect();
            next += vm.vcpus;
            text += &format!("cores = {cores:?}\n");
        }
    }
    plan::parse(&text, "test", &Facts::default()).unwrap()
}

/// Memory as it is given away, lowest first.
struct Memory {
    next: u64,
    owned: Vec<Owned>,
}

impl Memory {
    fn take(&mut self, len: u64, used: Use) -> u64 {
        let start = self.next;
        self.next += len;
        self.owned.push(Owned {
            range: range(start, len),
            used,
        });
        start
    }

    fn frame(&mut self, used: Use) -> u64 {
        self.take(FRAME, used)
    }
}

/// A machine that is as it should be, and the plan that it is of.
pub(crate) fn machine(shape: &Shape) -> (Plan, Whole) {
    let plan = plan(shape);
    let cores = 1 + shape
        .vms
        .iter()
        .filter(|vm| vm.own)
        .map(|vm| vm.vcpus)
        .sum::<u32>();
    let mut memory = Memory {
        next: 0,
        owned: Vec::new(),
    };
    memory.take(0x9e000, Use::LowMemory);
    memory.take(2 * FRAME, Use::StartUp);
    memory.next = 1 << 20;
    let heap = memory.take(4 << 20, Use::Heap);
    let root = memory.frame(Use::HostTables);
    let tables = memory.take(7 * FRAME, Use::HostTables);
    let stacks: Vec<u64> = (0..cores)
        .map(|_| memory.take(4 * FRAME, Use::Stack))
        .collect();
    let regions: Vec<u64> = (0..cores).map(|_| memory.frame(Use::VmxRegion)).collect();
    memory.take(LOADER.start - memory.next, Use::Free);
    let image = memory.take(CODE + DATA, Use::Image);
    memory.take(1 << 20, Use::Bundle);
    memory.next = HIGH;
    let host = processor::Host {
        root,
        heap: WINDOW + heap,
        heap_frame: heap,
        code: IMAGE,
        stack: STACKS + FRAME,
    };
    let mut guests = guests::guests(shape, &plan, &host, &mut memory);
    memory.take(1 << 20, Use::Free);
    let known = vec![
        (range(0, 0xa_0000), MemoryKind::Usable),
        (range(1 << 20, LOADER.start - (1 << 20)), MemoryKind::Usable),
        (LOADER, MemoryKind::Loader),
        (RUNTIME, MemoryKind::Firmware(6)),
        (ACPI, MemoryKind::Firmware(9)),
        (range(HIGH, memory.next - HIGH), MemoryKind::Usable),
    ];
    let mut maps: Vec<Mapping> = known
        .iter()
        .filter(|(at, _)| *at != RUNTIME)
        .map(|(at, kind)| {
            let rights = if *kind == MemoryKind::Usable { RW } else { R };
            mapping(
                WINDOW + at.start,
                at.start,
                at.len,
                rights,
                Cache::WriteBack,
            )
        })
        .collect();
    for (at, frame) in (STACKS..).step_by(0x1_0000).zip(&stacks) {
        maps.push(mapping(at + FRAME, *frame, 4 * FRAME, RW, Cache::WriteBack));
    }
    maps.push(mapping(DEVICES, LOCAL_APIC, FRAME, RW, Cache::Uncacheable));
    maps.push(mapping(IMAGE, image, CODE, RX, Cache::WriteBack));
    maps.push(mapping(
        IMAGE + CODE,
        image + CODE,
        DATA,
        RW,
        Cache::WriteBack,
    ));
    let low = mapping(
        RUNTIME.start,
        RUNTIME.start,
        RUNTIME.len,
        RWX,
        Cache::WriteBack,
    );
    let survey = HostSurvey {
        memory: known
            .into_iter()
            .map(|(range, kind)| MemoryRange { range, kind })
            .collect(),
        owned: memory.owned,
        host: maps,
        host_root: root,
        host_tables: vec![range(root, FRAME), range(tables, 7 * FRAME)],
        firmware: vec![low],
        window: WINDOW,
        devices: vec![Device {
            name: "local APIC".to_owned(),
            range: range(LOCAL_APIC, FRAME),
        }],
        cores: processor::cores(&regions, root),
        vms: plan.vms.len().try_into().unwrap(),
    };
    if shape.sleeper {
        guests.send_one_to_sleep();
    }
    (plan, guests.with(survey))
}
