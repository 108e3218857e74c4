//! What a core alone can tell: its registers, and what stands in the control structures of the vCPUs that it holds. It tells when it is
//! asked and looks at its orders, with nothing in hand that an exit needs.

use crate::run::Runner;
use crate::vcpu::Vcpu;
use crate::vtx::VtX;
use crate::{seat, stop};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};
use hw::control;
use hw::core_local::CoreLocal;
use hw::vmx_ops::CurrentVmcs;
use proto::certificate::CoreSurvey;
use sched::Id;
use spec::apic::Carrier;
use spec::vmcs::Field;
use spec::{Hpa, Ticks};
use spin::Mutex;
use survey::{Control, Fields};
use vmx::Vmcs;

/// How long whoever asks waits: a core looks after an exit, or after a piece of loading.
const PATIENCE: Ticks = Ticks(1 << 22);

/// What a core may be asked.
#[derive(Clone, Copy)]
pub(crate) enum Question {
    /// Its registers
    Core,
    /// The control structure of a vCPU
    Vcpu(Id),
    /// To switch a control of a vCPU off that makes it exit
    #[cfg(feature = "planted")]
    SwitchOff(Id),
}

/// What a core tells.
#[expect(
    clippy::large_enum_variant,
    reason = "a core that has guests to run makes nothing on the heap for this"
)]
pub(crate) enum Told {
    /// Its registers
    Core(CoreSurvey),
    /// A vCPU's control structure
    Vcpu(Seen),
    /// It does not hold that vCPU
    Absent,
    /// The structure cannot be read
    Failed,
    /// The control is off
    #[cfg(feature = "planted")]
    SwitchedOff,
}

/// A vCPU, as its core sees it.
pub(crate) struct Seen {
    /// What carries its local APIC
    pub(crate) carrier: Carrier,
    /// Where its control structure is
    pub(crate) vmcs: Hpa,
    /// What it says; nothing before the vCPU's first start
    pub(crate) control: Option<Control>,
}

/// Where a core finds what it is asked, and puts what it tells.
#[derive(Default)]
pub(crate) struct Desk {
    asked: AtomicBool,
    paper: Mutex<Paper>,
}

#[derive(Default)]
struct Paper {
    question: Option<Question>,
    told: Option<Told>,
}

/// Asks a core; `tell` has this one tell. `None` if it is not up, or does not look in time.
pub(crate) fn ask(core: u32, question: Question, tell: &mut dyn FnMut()) -> Option<Told> {
    let seat = seat::at(core).filter(|seat| seat.is_up())?;
    let desk = &seat.desk;
    *desk.paper.lock() = Paper {
        question: Some(question),
        told: None,
    };
    desk.asked.store(true, Ordering::Release);
    if CoreLocal::current().is_some_and(|local| local.index == core) {
        tell();
    } else {
        seat::kick(core);
        let begun = hw::tsc::now();
        while desk.is_asked() && hw::tsc::now().since(begun) < PATIENCE {
            core::hint::spin_loop();
        }
    }
    // What it would tell after this is told to nobody.
    desk.paper.lock().told.take()
}

impl Desk {
    /// Whether somebody waits for this core to tell.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// Where a core finds what it tells.
pub(crate) struct Here<'a> {
    desk: &'static Desk,
    number: u32,
    apic_id: u32,
    vtx: &'a VtX,
    vcpus: &'a mut [Option<Box<Vcpu>>],
    /// Whose control structure is current
    current: Option<Id>,
}

impl Runner {
    /// Tells what this core is asked, if it is.
    pub(crate) fn tell_if_asked(&mut self) {
        if self.seat.desk.is_asked() {
            let (seat, number) = (self.seat, self.core.local.index);
            Here::new(seat, number, &self.vtx, &mut self.vcpus, self.current).tell();
        }
    }
}

impl<'a> Here<'a> {
    /// On this core.
    pub(crate) fn new(
        seat: &'static seat::Seat,
        number: u32,
        vtx: &'a VtX,
        vcpus: &'a mut [Option<Box<Vcpu>>],
        current: Option<Id>,
    ) -> Self {
        Self {
            desk: &seat.desk,
            number,
            apic_id: seat.apic_id,
            vtx,
            vcpus,
            current,
        }
    }

    /// Tells what this core is asked.
    pub(crate) fn tell(&mut self) {
        let mut paper = self.desk.paper.lock();
        paper.told = paper.question.take().map(|question| match question {
            Question::Core => Told::Core(self.registers()),
            Question::Vcpu(id) => self.with(id, see),
            #[cfg(feature = "planted")]
            Question::SwitchOff(id) => self.with(id, crate::planted::switch_off),
        });
        self.desk.asked.store(false, Ordering::Release);
    }

    fn registers(&self) -> CoreSurvey {
        CoreSurvey {
            number: self.number,
            apic_id: self.apic_id,
            cr0: control::cr0(),
            cr3: control::cr3(),
            cr4: control::cr4(),
            efer: control::efer(),
            pat: control::pat(),
            vmxon: self.vtx.vmxon.0,
        }
    }

    /// Does something with a vCPU of this core, whose control structure is current meanwhile.
    fn with(&mut self, id: Id, what: impl FnOnce(&mut Vcpu) -> Told) -> Told {
        let Some(vcpu) = self.vcpu(id) else {
            return Told::Absent;
        };
        let mut told = match vcpu.make_current() {
            Ok(()) => what(vcpu),
            Err(_) => Told::Failed,
        };
        if vcpu.vmcs.take_failure().is_some() {
            told = Told::Failed;
        }
        if let Some(current) = self.current.filter(|current| *current != id)
            && let Some(vcpu) = self.vcpu(current)
            && let Err(e) = vcpu.make_current()
        {
            stop::die(&format_args!("a control structure cannot be loaded: {e}"));
        }
        told
    }

    fn vcpu(&mut self, id: Id) -> Option<&mut Vcpu> {
        self.vcpus.get_mut(usize::from(id.0))?.as_deref_mut()
    }
}

fn see(vcpu: &mut Vcpu) -> Told {
    let control = vcpu.vmx.as_ref();
    Told::Vcpu(Seen {
        carrier: vcpu.carrying.now,
        vmcs: vcpu.vmcs.region(),
        control: control.map(|_| Control::read(&Structure(&vcpu.vmcs))),
    })
}

/// The current control structure.
struct Structure<'a>(&'a CurrentVmcs);

impl Fields for Structure<'_> {
    fn field(&self, encoding: u32) -> u64 {
        self.0.read(Field(encoding))
    }
}
