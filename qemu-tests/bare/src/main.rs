//! Starts the kernel of the plan's first VM on the bare machine, as the hypervisor would start it in a VM: same file, same
//! command line (with `tsc_hz=`, which CPUID may not tell), same loader, same registers; but the memory map, the chips
//! and the processor are the machine's own. `boot` starts it in the hypervisor's place.
//!
//! Its last words on COM1 are `bare: start rip=RIP tsc=TICKS`, just before the kernel's first instruction.
// UNSAFETY: the entry point, and the one moment at which the machine is given away.
#![allow(unsafe_code)]
#![no_std]
#![no_main]

extern crate alloc;

mod console;
mod enter;
mod machine;
mod memory;

use alloc::string::String;
use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping, entry_point};
use console::say;
use core::convert::Infallible;
use guest_loader::Image;
use memory::Memory;
use plan::bundle::Bundle;
use spec::Gpa;

static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::Dynamic);
    config.kernel_stack_size = 256 * 1024;
    config
};

entry_point!(start, config = &CONFIG);

fn start(info: &'static mut BootInfo) -> ! {
    let Err(why) = give_away(info);
    say(format_args!("cannot start it: {why}"));
    console::power_off()
}

fn give_away(info: &'static BootInfo) -> Result<Infallible, String> {
    // SAFETY: first and only time, by the code that the loader started.
    let memory = unsafe { Memory::take(info) }?;
    let bundle = Bundle::open(memory::bundle(info)?).map_err(|e| alloc::format!("{e}"))?;
    let handover = bundle.handover();
    let vm = handover.plan.vms.first().ok_or("the plan has no VM")?;
    let file = |path: &str| {
        bundle
            .file(path)
            .ok_or_else(|| alloc::format!("{path} is not in the bundle"))
    };
    let image = Image {
        format: vm.format,
        kernel: file(&vm.kernel)?,
        initrd: vm.initrd.as_deref().map(file).transpose()?,
        modules: &[],
        cmdline: alloc::format!("{} tsc_hz={}", vm.cmdline, handover.tsc.0).leak(),
    };
    let rsdp = Gpa(info.rsdp_addr.into_option().unwrap_or(0));
    let start = guest_loader::load(&image, &memory.map, rsdp, &memory.ram)
        .map_err(|e| alloc::format!("{}: {e}", vm.kernel))?;
    // SAFETY: nothing here waits for an interrupt, and the window maps the registers.
    unsafe { machine::calm(memory.window) }?;
    // SAFETY: the loader has put into `memory` what the state names, and nobody else uses that.
    unsafe { enter::enter(&start, memory.window) }
}
