//! Starts the other cores, and takes them as far as the loop in which each serves its guests.
// UNSAFETY: sends start-up IPIs, and is the code where a started core arrives.
#![allow(unsafe_code)]

use crate::host::{self, Core};
use crate::machine::{self, Machine};
use crate::memory::AddressSpace;
use crate::vtx::VtX;
use crate::{run, seat, warning};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use hw::segments::IstStacks;
use hw::startup::Trampoline;
use plan::bundle::Handover;
use ram::FrameTables;
use spec::{Hpa, Ticks};
use vmx::Capabilities;

/// Pages of a core's stack. The deepest path, loading a kernel, takes 64 KiB.
const STACK_PAGES: u64 = 32;
/// How long a core may take from its start-up IPI to its arrival, in nanoseconds.
const PATIENCE: u64 = 100_000_000;

/// What a core needs when it arrives; never freed, since one that comes late may still look at it.
struct Arrival {
    number: u32,
    root: Hpa,
    stacks: IstStacks,
    apic_page: u64,
    memory: FrameTables<'static>,
    capabilities: &'static Capabilities,
    /// Its TSC when it arrived, zero before
    stamp: AtomicU64,
}

/// Starts every core of the plan's numbers but this one. Threads that no plan number means are reset, and stay so.
///
/// # Errors
/// What the machine does not give: it goes on with the cores it has.
pub(crate) fn start(
    handover: &Handover,
    space: &mut AddressSpace,
    low: [Hpa; 2],
    apic_page: NonNull<u8>,
    memory: FrameTables<'static>,
    capabilities: &'static Capabilities,
) -> Result<(), paging::Error<paging::Hva>> {
    let others: Vec<u32> = handover.cores.iter().skip(1).map(|c| c.apic_id).collect();
    if others.is_empty() {
        return Ok(());
    }
    // Before the tables are made: they are to show all that a core meets on its way.
    let mut arrivals = Vec::new();
    for number in 1..seat::all().len() as u32 {
        let stack = space.stack(STACK_PAGES)?;
        let arrival: &'static Arrival = Box::leak(Box::new(Arrival {
            number,
            root: space.root(),
            stacks: host::exception_stacks(space)?,
            apic_page: apic_page.as_ptr() as u64,
            memory,
            capabilities,
            stamp: AtomicU64::new(0),
        }));
        arrivals.push((stack, arrival));
    }
    let [code, pml4] = low;
    let root = space.start_up(code)?;
    // SAFETY: both frames are below 1 MiB and no one else's: guests and tables get memory from above; `root` maps the one and
    // our upper half.
    let Some(mut trampoline) =
        (unsafe { Trampoline::new(memory.window, code, pml4, root, handover.tsc) })
    else {
        warning!("core: no other core can be started from {code:#x}");
        return Ok(());
    };
    trampoline.reset(others.iter().copied());
    for (stack, arrival) in arrivals {
        let Some(seat) = seat::all().get(arrival.number as usize) else {
            continue;
        };
        let before = hw::tsc::now();
        let there = || arrival.stamp.load(Ordering::Acquire) != 0;
        // SAFETY: `arrive` takes the argument for what it is; the stack is mapped and no one else's.
        let came = unsafe {
            trampoline.launch(
                seat.apic_id,
                stack,
                arrive,
                core::ptr::from_ref(arrival) as u64,
                there,
                handover.tsc.ticks(PATIENCE),
            )
        };
        if !came {
            warning!(
                "core: number={} apic_id={} does not answer and is left out",
                arrival.number,
                seat.apic_id
            );
            continue;
        }
        let (stamp, after) = (Ticks(arrival.stamp.load(Ordering::Acquire)), hw::tsc::now());
        if stamp < before || after < stamp {
            seat.set_out_of_step();
            warning!(
                "core: number={} its TSC is not in step, so no vCPU moves there: {} where {} to {} was expected",
                arrival.number,
                stamp.0,
                before.0,
                after.0
            );
        }
    }
    Ok(())
}

/// Where a core arrives, on its own stack, in the address space of the start-up tables.
extern "C" fn arrive(argument: u64) -> ! {
    // SAFETY: `start` hands over a leaked `Arrival`.
    let arrival = unsafe { &*(argument as *const Arrival) };
    // SAFETY: the tables map all that these did but the trampoline; first thing on this core, and our code is W^X.
    unsafe {
        hw::control::load_tables(arrival.root);
        hw::control::harden();
    }
    let Some(page) = NonNull::new(arrival.apic_page as *mut u8) else {
        hw::core_local::park()
    };
    // SAFETY: once on this core, interrupts off since its reset; the first core mapped page and stacks for this.
    let Some(core) = (unsafe { Core::start(arrival.stacks, page, arrival.number) }) else {
        warning!("core: number={} has no usable local APIC", arrival.number);
        hw::core_local::park()
    };
    let vtx = match VtX::join(arrival.memory, arrival.capabilities) {
        Ok(vtx) => vtx,
        Err(e) => {
            warning!("core: number={} is left out: {e}", arrival.number);
            hw::core_local::park()
        }
    };
    if let Some(seat) = seat::all().get(arrival.number as usize) {
        seat.set_up();
    }
    arrival
        .stamp
        .store(hw::tsc::now().0.max(1), Ordering::Release);
    run::core(core, vtx, wait())
}

/// Waits until the first core has put the machine up and kicks.
fn wait() -> &'static Machine {
    let Some(local) = hw::core_local::CoreLocal::current() else {
        hw::core_local::park()
    };
    loop {
        if let Some(machine) = machine::get() {
            return machine;
        }
        hw::idle::wait(local);
        let _ = local.take_kick();
    }
}
