//! Does wrong when it is told to, one thing at a time: for tests of who looks for that. Only images with the feature `planted` have it.

use crate::console;
use crate::desk::{self, Question, Told};
use crate::guest::Guest;
use crate::machine::Machine;
use crate::vcpu::Vcpu;
use alloc::string::String;
use alloc::{format, vec};
use core::sync::atomic::{AtomicU32, Ordering};
use paging::{Ept, Level, Rights, Tables};
use proto::Answer;
use proto::certificate::Fault;
use ram::{FrameTables, Use};
use seam::TableMem;
use spec::memory_type::MemoryType;
use spec::vmx_controls::SecondaryControls;
use spec::{Gpa, Hpa, Msr, PAGE_SIZE, msr, vmcs};
use vmx::Vmcs;

/// Where pages are mapped that are not the guest's, one for each fault: above all memory that it may have.
const BASE: u64 = 1 << 38;

/// COM2, which is the hypervisor's.
const PORT: u64 = 0x2f8;
/// An MSR of which no guest has anything to know.
const MSR: Msr = msr::FEATURE_CONTROL;

/// In entries of either format.
const PAGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Does one thing wrong to a VM, and says what.
pub(crate) fn plant(
    machine: &Machine,
    guest: &Guest,
    fault: Fault,
    tell: &mut dyn FnMut(),
) -> Answer {
    match done(machine, guest, fault, tell) {
        Ok(what) => Answer::Done(what),
        Err(why) => Answer::Refused(why),
    }
}

fn done(
    machine: &Machine,
    guest: &Guest,
    fault: Fault,
    tell: &mut dyn FnMut(),
) -> Result<String, String> {
    let name = &guest.vm.name;
    let memory = machine.layout.memory;
    match fault {
        Fault::ForeignPage => {
            let other = machine.guests.iter().find(|g| g.index != guest.index);
            let other = other.ok_or("There is no other VM.")?;
            let slot = other.vm.memory.slots().first();
            let frame = slot.ok_or("The other VM has no memory.")?.host.start;
            map(memory, guest, 0, frame)
        }
        Fault::OwnPage => {
            let owned = |o: &&ram::Owned| o.used == Use::Heap;
            let frame = memory.frames.lock().owned().iter().find(owned).copied();
            map(
                memory,
                guest,
                1,
                frame.ok_or("There is no heap.")?.extent.start,
            )
        }
        Fault::ApicPage => map(memory, guest, 2, hw::apic::mmio_base()),
        Fault::StaleMapping => {
            let free = memory.frames.lock().extents().first().copied();
            map(memory, guest, 3, free.ok_or("No memory is free.")?.start)
        }
        Fault::CacheType => {
            let slot = guest.vm.memory.slots().first();
            let at = slot.ok_or("It has no memory.")?.gpa;
            let root = Hpa(guest.structures.pointers.eptp.bits() & ADDRESS);
            // The memory type is in bits 5:3; zero is uncacheable.
            change(memory, root, at.0, |entry| entry & !(7 << 3))?;
            Ok(format!("{name} has a page at {:#x} uncached.", at.0))
        }
        Fault::MsrBit => {
            let s = &guest.structures;
            let direct = [s.direct.usual, s.direct.ends_exit];
            let mut bitmaps = vec![s.pointers.msr_bitmap];
            bitmaps.extend(s.accelerated.into_iter().chain(direct));
            for bitmap in bitmaps {
                clear(memory, bitmap, MSR.0.into());
            }
            Ok(format!("{name} can read {MSR:?}."))
        }
        Fault::PortBit => {
            clear(memory, guest.structures.pointers.io_bitmap_a, PORT);
            Ok(format!("{name} has port {PORT:#x}."))
        }
        Fault::WritableCode => {
            let at = done as *const () as u64;
            let root = Hpa(hw::control::cr3() & ADDRESS);
            change(memory, root, at, |entry| entry | 1 << 1)?;
            Ok(format!("The hypervisor's code at {at:#x} can be written."))
        }
        Fault::LostFrame => {
            let mut frames = memory.frames.lock();
            let taken = frames.take(PAGE_SIZE, PAGE_SIZE, Use::Lost);
            let taken = taken.ok_or("No memory is free.")?;
            frames.disown(taken);
            Ok(format!("Nobody has the frame at {:#x}.", taken.start.0))
        }
        Fault::Control => {
            let core = guest.places.of(0);
            match desk::ask(core, Question::SwitchOff(guest.id(0)), tell) {
                Some(Told::SwitchedOff) => Ok(format!("{name}'s WBINVD does not exit.")),
                _ => Err(format!("Core {core} cannot do that now; ask again.")),
            }
        }
        Fault::Bug | Fault::BugWithLock => {
            let mark = 1 + u32::from(guest.id(0).0) * 2 + u32::from(fault == Fault::BugWithLock);
            FAILS.store(mark, Ordering::Relaxed);
            Ok(format!("The next exit of {name}'s first vCPU meets a bug."))
        }
    }
}

/// The vCPU whose next exit meets a bug, by its number, times two; one more if that holds a lock of the machine's; and one more.
static FAILS: AtomicU32 = AtomicU32::new(0);

/// Panics if that was asked for: at work for a vCPU, with a lock of its VM's.
#[expect(clippy::panic, reason = "it is what was asked for")]
pub(crate) fn fail(guest: &Guest, vcpu: u32) {
    let mark = 1 + u32::from(guest.id(vcpu).0) * 2;
    let _own = guest.vm.chips.cmos.lock();
    if FAILS
        .compare_exchange(mark, 0, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
    {
        panic!("planted");
    }
    if FAILS
        .compare_exchange(mark + 1, 0, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
    {
        console::while_log_is_taken(|| panic!("planted, with a lock"));
    }
}

/// Maps a frame that is not the guest's, at the address for the fault of this number.
fn map(
    memory: FrameTables<'static>,
    guest: &Guest,
    number: u64,
    frame: Hpa,
) -> Result<String, String> {
    let format = Ept {
        largest: Level::KIB_4,
        execute_only: false,
    };
    let root = Hpa(guest.structures.pointers.eptp.bits() & ADDRESS);
    let vm = guest.index as u16;
    let at = Gpa(BASE + number * PAGE_SIZE);
    Tables::existing(format, memory.to_use(Use::NestedTables(vm)), root)
        .map(at, frame, PAGE_SIZE, Rights::RW, MemoryType::WriteBack)
        .map_err(|e| format!("The page cannot be mapped: {e:?}."))?;
    Ok(format!(
        "{} has the frame at {:#x} at {:#x}.",
        guest.vm.name, frame.0, at.0
    ))
}

/// Changes the entry that maps `at`, of the tables at `root`, of either format.
fn change(
    mut memory: FrameTables<'static>,
    root: Hpa,
    at: u64,
    to: impl FnOnce(u64) -> u64,
) -> Result<(), String> {
    let mut table = root;
    for level in (1..=4).rev() {
        let index = (at >> (3 + 9 * level)) as usize & 511;
        let entry = memory.read(table, index);
        if entry == 0 {
            break;
        }
        if level == 1 || entry & PAGE != 0 {
            memory.write(table, index, to(entry));
            return Ok(());
        }
        table = Hpa(entry & ADDRESS);
    }
    Err("It is not mapped.".into())
}

/// Clears a bit of a bitmap.
fn clear(mut memory: FrameTables<'static>, bitmap: Hpa, bit: u64) {
    let index = (bit / 64) as usize;
    let word = memory.read(bitmap, index);
    memory.write(bitmap, index, word & !(1 << (bit % 64)));
}

/// Switches off what makes WBINVD exit. The vCPU's control structure is current.
pub(crate) fn switch_off(vcpu: &mut Vcpu) -> Told {
    if vcpu.vmx.is_none() {
        return Told::Failed;
    }
    let controls = vcpu.vmcs.read(vmcs::SECONDARY_CONTROLS);
    let exits = u64::from(SecondaryControls::WBINVD_EXITING.bits());
    vcpu.vmcs.write(vmcs::SECONDARY_CONTROLS, controls & !exits);
    Told::SwitchedOff
}
