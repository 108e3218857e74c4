//! The bare-metal binary: wiring and panic handler.
//!
//! Read [`start`] from top to bottom: memory, first core, VT-x, other cores, guests; then each core goes on in [`run::core`].
// UNSAFETY: the entry point and the steps that may be made only once, in their order.
#![allow(unsafe_code)]
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]
#![no_main]

extern crate alloc;

mod attend;
mod boot;
mod callers;
mod carrier;
mod certify;
mod command;
mod console;
mod containment;
mod desk;
mod guest;
mod host;
mod lifecycle;
mod line;
mod loading;
mod log;
mod machine;
mod memory;
mod moves;
mod others;
mod pins;
#[cfg(feature = "planted")]
mod planted;
mod quiet;
mod remote;
mod run;
mod screen;
mod seat;
mod shares;
mod statistics;
mod stop;
mod structures;
mod times;
mod trace;
mod turn;
mod uart;
mod vcpu;
mod visible;
mod vtx;
mod watchdog;

use alloc::boxed::Box;
use alloc::vec::Vec;
use bootloader_api::{BootInfo, entry_point};
use guest::Guest;
use host::Core;
use hw::firmware::Firmware;
use machine::Machine;
use memory::AddressSpace;
use plan::Smt;
use plan::bundle::Bundle;
use processor::hygiene::{Exposure, Facts, Hygiene, Use, policy};
use ram::{FrameTables, Frames, Window};
use spec::cpu::Cr4;
use spin::Mutex;
use vtx::VtX;

entry_point!(start, config = &boot::CONFIG);

fn start(info: &'static mut BootInfo) -> ! {
    let entered = hw::tsc::now();
    let info: &'static BootInfo = info;
    console::open();
    if let Some(memory) = boot::screen(info) {
        screen::open(memory);
    }
    if hw::control::cr4() & Cr4::LA57.bits() != 0 {
        stop::refuse(format_args!(
            "the firmware runs with five-level paging (CR4.LA57), which this version does not take over"
        ));
    }
    let mut frames = Frames::new();
    boot::free_memory(info, &mut frames);
    let heap = boot::window(info).is_some_and(|w| memory::start_heap(&mut frames, w));
    if !heap {
        stop::refuse(format_args!("the loader gave no memory to work with"));
    }
    let machine = boot::machine(info).unwrap_or_else(|e| stop::refuse(format_args!("{e}")));
    // SAFETY: first thing on the only core; loader and hypervisor map code and data apart.
    unsafe { hw::control::harden() };
    // SAFETY: the loader mapped physical memory at `window`, and so will our own tables; frames have one owner each.
    let window = unsafe { Window::new(machine.window, machine.memory_end) };
    let frames: &'static Mutex<Frames> = Box::leak(Box::new(Mutex::new(frames)));

    let mut space = AddressSpace::enter(&machine, frames, window)
        .unwrap_or_else(|e| stop::refuse(format_args!("page tables cannot be built: {e:?}")));
    let bundle = Bundle::open(machine.bundle)
        .unwrap_or_else(|e| stop::refuse(format_args!("the bundle is damaged: {e}")));
    let handover = bundle.handover();
    let cores = handover.guest_cores();
    let vcpus: u32 = handover.plan.vms.iter().map(|vm| vm.vcpus).sum();
    seat::set(cores.iter().map(|c| c.apic_id), vcpus as usize);
    hw::trap::on_fatal(stop::on_exception);
    let stacks = host::exception_stacks(&mut space).unwrap_or_else(unmapped);
    let page = space
        .map_device("local APIC", hw::apic::mmio_base())
        .unwrap_or_else(unmapped);
    // Behind the first stack and the first device, whose parts of the address space they share: an NMI may come during the call.
    match space.firmware(&handover.runtime_memory) {
        Ok(tables) => stop::set_firmware(Firmware {
            reset_system: handover.reset_system,
            tables,
        }),
        Err(e) => warning!("machine: power-off by the firmware is out of reach: {e:?}"),
    }
    // SAFETY: the first and only time on this core, interrupts off since the loader; stacks and page were just made.
    let mut core = unsafe { Core::start(stacks, page, 0) }
        .unwrap_or_else(|| stop::refuse(format_args!("the local APIC cannot be used")));
    pins::route(&mut space, &mut core, handover).unwrap_or_else(unmapped);
    info!(
        "machine: up version={} tsc_hz={} threads={} cores={} smt={:?} free_mib={} heap_bytes={} rsdp={} entered={}",
        env!("CARGO_PKG_VERSION"),
        handover.tsc.0,
        handover.cores.len(),
        cores.len(),
        handover.plan.smt,
        frames.lock().available() >> 20,
        memory::heap_used(),
        machine.rsdp.is_some(),
        entered.0,
    );
    let memory = FrameTables {
        frames,
        window,
        used: ram::Use::HostTables,
    };
    let vtx = VtX::start(memory).unwrap_or_else(|e| stop::refuse(format_args!("{e}")));
    let capabilities = Box::leak(Box::new(vtx.capabilities));
    let hygiene = hygiene(handover.plan.smt);
    // The decoder unpacks its tables at its first use, which must not be on an exit.
    emul::prepare();
    if let Some(seat) = seat::all().first() {
        seat.set_up();
    }
    match machine.low {
        Some(low) => others::start(handover, &mut space, low, page, memory, capabilities)
            .unwrap_or_else(|e| stop::refuse(format_args!("a core has no stack: {e:?}"))),
        None => warning!("core: no memory below 1 MiB is free, so no other core can be started"),
    }
    let guests = claim(&vtx, handover);
    for guest in &guests {
        if guest.plan.autostart {
            let _ = guest.life.start();
        }
    }
    let pool = machine::pool(&handover.plan);
    let layout = certify::Layout::new(machine, space, memory);
    let machine = machine::publish(Machine {
        reserving: machine::reserving(&handover.plan, &pool),
        pool,
        guests: guests.into(),
        bundle,
        hygiene,
        layout,
        entered,
    });
    console::open_for(machine);
    for number in 1..seat::all().len() as u32 {
        seat::kick(number);
    }
    run::core(core, vtx, machine)
}

fn unmapped<T>(e: paging::Error<paging::Hva>) -> T {
    stop::refuse(format_args!("stacks and registers cannot be mapped: {e:?}"))
}

/// What this processor's weaknesses ask for where guests change; says what it is open to.
fn hygiene(smt: Smt) -> Hygiene {
    // SAFETY: asked for only where CPUID shows it.
    let capabilities = || unsafe { hw::msr::read(spec::msr::ARCH_CAPABILITIES) };
    let used = Use {
        shared_siblings: smt == Smt::Share,
        direct_devices: false,
    };
    let hygiene = policy(&Facts::new(&hw::cpuid::leaf, &capabilities, used));
    for Exposure {
        name,
        mend,
        handled,
    } in hygiene.exposures.iter()
    {
        if *handled {
            info!("core: {name}: {mend}");
        } else {
            warning!("core: open to {name}: {mend}");
        }
    }
    hygiene
}

/// Gives each VM of the plan its cores and its memory.
fn claim(vtx: &VtX, handover: &plan::bundle::Handover) -> Vec<Guest> {
    let plan = &handover.plan;
    let places = machine::place(plan, handover.tsc.nanos(shares::OVERHEAD))
        .unwrap_or_else(|e| stop::refuse(format_args!("{e}")));
    let mut guests = Vec::new();
    let mut first = 0;
    for ((index, vm), cores) in (0..).zip(&plan.vms).zip(&places) {
        let guest = Guest::claim(vtx, (index, vm), first, cores, handover)
            .unwrap_or_else(|e| stop::refuse(format_args!("vm {}: {e}", vm.name)));
        guests.push(guest);
        // A plan has no more than 64 VMs of 64 vCPUs.
        first += vm.vcpus as u16;
    }
    shares::admit(&guests, handover.tsc).unwrap_or_else(|e| stop::refuse(format_args!("{e}")));
    guests
}
