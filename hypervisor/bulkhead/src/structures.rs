//! What the processor reads by itself for the vCPUs of a VM: control structures, bitmaps, virtual-APIC pages.

use crate::seat::{self, Seat};
use crate::vtx::VtX;
use alloc::boxed::Box;
use alloc::string::String;
use devices::lapic::VirtualApicPage;
use platform::MsrPolicy;
use platform::apic;
use platform::msr::Rights;
use ram::{FrameTables, Use};
use seam::TableMem;
use spec::apic::Carrier;
use spec::ept::Eptp;
use spec::memory_type::MemoryType;
use spec::{Hpa, Msr, msr};
use vmx::{MsrBitmap, Pointers};

/// Frames of a VM, and what it has for each of its vCPUs, by index.
pub(crate) struct Structures {
    /// As a vCPU begins: with the local APIC in software
    pub(crate) pointers: Pointers,
    /// MSR bitmap of a vCPU whose local APIC is accelerated
    pub(crate) accelerated: Option<Hpa>,
    /// MSR bitmaps of one to which the local APIC is lent
    pub(crate) direct: Direct,
    /// Control structures
    pub(crate) regions: Box<[Hpa]>,
    /// Virtual-APIC pages, where the processor can use them
    pub(crate) pages: &'static [VirtualApicPage],
}

/// The two bitmaps of a vCPU to which the local APIC is lent.
#[derive(Clone, Copy)]
pub(crate) struct Direct {
    /// The guest ends its interrupts by itself
    pub(crate) usual: Hpa,
    /// Ends exit: one of them is to be told to the I/O APIC
    pub(crate) ends_exit: Hpa,
}

impl Structures {
    /// Takes and fills them for the `vcpus` vCPUs of a VM of that number.
    ///
    /// # Errors
    /// What the machine does not have, in words.
    pub(crate) fn new(
        vtx: &VtX,
        policy: &MsrPolicy,
        nested: Hpa,
        (vm, vcpus): (u16, u32),
    ) -> Result<Self, String> {
        let memory = vtx.memory.to_use(Use::Bitmap(vm));
        let software = granted(policy, Carrier::Software)?;
        let accelerates = vtx.capabilities.has_accelerated_apic();
        let accelerated = accelerates
            .then(|| bitmap(memory, granted(policy, Carrier::Accelerated)?.bytes()))
            .transpose()?;
        let usual = granted(policy, Carrier::Direct)?;
        let mut ends_exit = usual.clone();
        for withheld in apic::WITHHELD_WITH_LEVEL_IN_FLIGHT {
            let (read, write) = sides(withheld.rights);
            withheld
                .msrs()
                .for_each(|msr| ends_exit.deny(msr, read, write));
        }
        let io = vmx::IoBitmaps::new();
        let (a, b) = io.bytes().split_at(vmx::IoBitmaps::B);
        let pages = if accelerates { vcpus } else { 0 };
        Ok(Self {
            pointers: Pointers {
                eptp: Eptp::new(nested, MemoryType::WriteBack, false),
                msr_bitmap: bitmap(memory, software.bytes())?,
                io_bitmap_a: bitmap(memory, a)?,
                io_bitmap_b: bitmap(memory, b)?,
            },
            accelerated,
            direct: Direct {
                usual: bitmap(memory, usual.bytes())?,
                ends_exit: bitmap(memory, ends_exit.bytes())?,
            },
            regions: (0..vcpus)
                .map(|_| vtx.region(vm))
                .collect::<Result<_, _>>()?,
            pages: Box::leak((0..pages).map(|_| VirtualApicPage::new()).collect()),
        })
    }
}

fn bitmap(mut memory: FrameTables<'_>, bytes: &[u8]) -> Result<Hpa, String> {
    let frame = memory.alloc().ok_or("no frame is left for bitmaps")?;
    if !memory.fill(frame, bytes) {
        return Err("a frame lies outside memory".into());
    }
    Ok(frame)
}

const fn sides(rights: Rights) -> (bool, bool) {
    (
        rights.contains(Rights::READ),
        rights.contains(Rights::WRITE),
    )
}

/// What a guest may touch without an exit while its local APIC is carried so: what the policy names, and what that carrier grants.
fn granted(policy: &MsrPolicy, carrier: Carrier) -> Result<MsrBitmap, String> {
    let mut bitmap = MsrBitmap::new();
    let mut allow = |msr: Msr, rights: Rights| {
        let (read, write) = (
            rights.contains(Rights::READ),
            rights.contains(Rights::WRITE),
        );
        if bitmap.allow(msr, read, write) {
            Ok(())
        } else {
            Err(alloc::format!("{msr:?} cannot be direct"))
        }
    };
    for (msr, rights) in policy.direct() {
        allow(msr, rights)?;
    }
    // It reads the processor's own, on whichever core that is.
    let adjusted = !seat::all().iter().all(Seat::is_unadjusted);
    for grant in apic::grants(carrier) {
        for which in grant.msrs() {
            if !(adjusted && which == msr::TSC_ADJUST) {
                allow(which, grant.rights)?;
            }
        }
    }
    Ok(bitmap)
}
