//! VMs that are as they should be.

use super::processor::{self, Host};
use super::{FRAME, Memory, RWX, Shape, VmShape, mapping, range};
use checker::{Unstarted, Whole};
use plan::Plan;
use proto::certificate::{Cache, HostSurvey, Use, VcpuSurvey, VmSurvey};

const LARGE: u64 = 2 << 20;
/// Guest-physical: a hole in the first large page, and one below 4 GiB.
const HOLE: (u64, u64) = (0xa_0000, 0xe_0000);
const HIGH_HOLE: (u64, u64) = (0xc000_0000, 0x1_0000_0000);

pub(crate) struct Guests {
    vms: Vec<VmSurvey>,
    vcpus: Vec<VcpuSurvey>,
    unstarted: Vec<Unstarted>,
}

impl Guests {
    pub(crate) fn with(self, host: HostSurvey) -> Whole {
        Whole {
            host,
            vms: self.vms,
            vcpus: self.vcpus,
            unstarted: self.unstarted,
        }
    }

    pub(crate) fn send_one_to_sleep(&mut self) {
        let vcpu = self.vcpus.pop().unwrap();
        self.unstarted.push(Unstarted {
            vm: vcpu.vm,
            vcpu: vcpu.vcpu,
            vmcs: vcpu.vmcs,
        });
    }
}

pub(crate) fn guests(shape: &Shape, plan: &Plan, host: &Host, memory: &mut Memory) -> Guests {
    let mut guests = Guests {
        vms: Vec::new(),
        vcpus: Vec::new(),
        unstarted: Vec::new(),
    };
    for ((vm, vm_shape), planned) in (0..).zip(&shape.vms).zip(&plan.vms) {
        let root = memory.frame(Use::NestedTables { vm });
        let others = memory.take(3 * FRAME, Use::NestedTables { vm });
        let survey = VmSurvey {
            vm,
            name: planned.name.clone(),
            nested_root: root,
            nested: ram(vm, vm_shape, memory),
            nested_tables: vec![range(root, FRAME), range(others, 3 * FRAME)],
            vcpus: vm_shape.vcpus,
        };
        let bitmaps = [(); 3].map(|()| memory.frame(Use::Bitmap { vm }));
        for vcpu in 0..vm_shape.vcpus {
            let own = planned.dedicated().map(|cores| cores[vcpu as usize]);
            let carrier = vm_shape.carrier.min(if own.is_some() { 2 } else { 1 });
            let at = processor::Place {
                vm,
                vcpu,
                core: own.unwrap_or(0),
                carrier,
                old: shape.old,
                tag: guests.vcpus.len() as u16 + 1,
            };
            let vmcs = memory.frame(Use::Vmcs { vm });
            let page = (carrier == 1).then(|| memory.frame(Use::VirtualApic { vm }));
            guests
                .vcpus
                .push(processor::vcpu(&at, host, root, vmcs, bitmaps, page));
        }
        guests.vms.push(survey);
    }
    guests
}

/// RAM in one or two pieces, without what lies in the holes.
fn ram(vm: u16, shape: &VmShape, memory: &mut Memory) -> Vec<proto::certificate::Mapping> {
    let mut found = Vec::new();
    let total = shape.memory * LARGE;
    let cut = (shape.cut * LARGE).min(total);
    let mut map = |at: u64, len: u64, memory: &mut Memory| {
        if len != 0 {
            let frame = memory.take(len, Use::Ram { vm });
            found.push(mapping(at, frame, len, RWX, Cache::WriteBack));
        }
    };
    map(0, HOLE.0, memory);
    memory.take(HOLE.1 - HOLE.0, Use::Reserved { vm });
    let below = total.min(HIGH_HOLE.0);
    let middle = cut.clamp(HOLE.1, below);
    map(HOLE.1, middle - HOLE.1, memory);
    // Something else lies between the two.
    memory.take(FRAME, Use::Free);
    map(middle, below - middle, memory);
    map(HIGH_HOLE.1, total - below, memory);
    found
}
