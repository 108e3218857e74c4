//! The bare-metal binary: wiring and panic handler.
//!
//! Read [`start`] from top to bottom: memory, core, VT-x, guest, power-off.
// UNSAFETY: the entry point and the steps that may be made only once, in their order.
#![allow(unsafe_code)]
#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod console;
mod host;
mod launch;
mod log;
mod memory;
mod run;
mod stop;
mod vcpu;
mod vtx;

use alloc::boxed::Box;
use bootloader_api::{BootInfo, entry_point};
use console::CONSOLE;
use hw::firmware::Firmware;
use memory::AddressSpace;
use plan::bundle::Bundle;
use ram::{Frames, Window};
use spec::cpu::Cr4;
use spin::Mutex;

entry_point!(start, config = &boot::CONFIG);

fn start(info: &'static mut BootInfo) -> ! {
    let entered = hw::tsc::now();
    let info: &'static BootInfo = info;
    CONSOLE.lock().open();
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
    let core = host::Core::start(&mut space, handover.tsc)
        .unwrap_or_else(|e| stop::refuse(format_args!("registers cannot be mapped: {e:?}")));
    match space.firmware(&handover.runtime_memory) {
        Ok(tables) => stop::set_firmware(Firmware {
            reset_system: handover.reset_system,
            tables,
        }),
        Err(e) => warning!("machine: power-off by the firmware is out of reach: {e:?}"),
    }
    info!(
        "machine: up version={} tsc_hz={} cores={} free_mib={} heap_bytes={} rsdp={} entered={}",
        env!("CARGO_PKG_VERSION"),
        handover.tsc.0,
        handover.cores.len(),
        frames.lock().available() >> 20,
        memory::heap_used(),
        machine.rsdp.is_some(),
        entered.0,
    );
    let mut vtx = vtx::VtX::start(ram::FrameTables { frames, window })
        .unwrap_or_else(|e| stop::refuse(format_args!("{e}")));
    // The decoder unpacks its tables at its first use, which must not be on an exit.
    emul::prepare();
    let reason = run::all(core, &mut vtx, &bundle, entered);
    stop::power_off(reason)
}
