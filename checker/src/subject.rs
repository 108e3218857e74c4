//! A machine that is judged: what it should be, what it has told, and what follows from that.

use crate::layers::{Layers, Piece};
use crate::text;
use crate::whole::Whole;
use plan::{Plan, Vm};
use proto::certificate::{Mapping, MemoryKind, Range, Use, VcpuSurvey, VmSurvey};
use std::fmt;

/// A frame, the unit of all that is mapped and owned.
pub(crate) const FRAME: u64 = 4096;

pub(crate) struct Subject<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) whole: &'a Whole,
    /// What memory is used for
    pub(crate) owners: Layers<Use>,
    /// What the loader has told of memory
    pub(crate) memory: Layers<MemoryKind>,
    /// Registers of devices, by their place in the survey
    pub(crate) devices: Layers<usize>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(plan: &'a Plan, whole: &'a Whole) -> Self {
        let host = &whole.host;
        Self {
            plan,
            whole,
            owners: Layers::new(host.owned.iter().map(|it| (it.range, it.used))),
            memory: Layers::new(host.memory.iter().map(|it| (it.range, it.kind))),
            devices: Layers::new(host.devices.iter().map(|it| it.range).zip(0..)),
        }
    }

    /// The plan of a VM.
    pub(crate) fn planned(&self, vm: u16) -> Option<&'a Vm> {
        self.plan.vms.get(usize::from(vm))
    }

    /// A VM in words.
    pub(crate) fn vm(&self, vm: u16) -> String {
        match self.planned(vm) {
            Some(planned) => format!("vm {}", planned.name),
            None => format!("vm {vm}, which the plan does not have"),
        }
    }

    /// A vCPU in words.
    pub(crate) fn vcpu(&self, vcpu: &VcpuSurvey) -> String {
        format!("{} vCPU {}", self.vm(vcpu.vm), vcpu.vcpu)
    }

    /// What VMs reach: where, whose, and by which mapping.
    pub(crate) fn nested(&self) -> impl Iterator<Item = (&'a VmSurvey, &'a Mapping)> {
        let vms = self.whole.vms.iter();
        vms.flat_map(|vm| vm.nested.iter().map(move |mapping| (vm, mapping)))
    }

    /// Bytes that VMs reach.
    pub(crate) fn reached(&self) -> u64 {
        let bytes = self.nested().map(|(_, mapping)| mapping.len);
        bytes.fold(0, u64::saturating_add)
    }

    /// Whether memory is usable, and used for this alone.
    pub(crate) fn is_only(&self, range: Range, used: Use) -> bool {
        let usable = |piece: &Piece<'_, _>| piece.of == [MemoryKind::Usable];
        self.owners
            .over(range)
            .iter()
            .all(|piece| piece.of == [used])
            && self.memory.over(range).iter().all(usable)
    }

    /// What lies in a range, in words.
    pub(crate) const fn what_is(&self, range: Range) -> WhatIs<'_, 'a> {
        WhatIs { it: self, range }
    }
}

/// What lies in a range, which is looked up when it is told: most of what is looked at is right.
pub(crate) struct WhatIs<'s, 'a> {
    it: &'s Subject<'a>,
    range: Range,
}

impl fmt::Display for WhatIs<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { it, range } = *self;
        let owners = it.owners.over(range);
        let used = owners.iter().flat_map(|piece| piece.of);
        let mut found: Vec<String> = used.map(|used| text::used(*used, |vm| it.vm(vm))).collect();
        if found.is_empty() {
            let devices = it.devices.over(range);
            let named = devices.iter().flat_map(|piece| piece.of);
            let named = named.filter_map(|which| it.whole.host.devices.get(*which));
            found.extend(named.map(|device| format!("registers of the {}", device.name)));
        }
        if found.is_empty() {
            let memory = it.memory.over(range);
            found.extend(
                memory
                    .iter()
                    .flat_map(|piece| piece.of)
                    .map(|kind| text::kind(*kind)),
            );
        }
        if found.is_empty() {
            return f.write_str("no memory that the loader knows");
        }
        found.dedup();
        f.write_str(&found.join(" and "))
    }
}

/// Where a mapping leads.
pub(crate) const fn frames(mapping: &Mapping) -> Range {
    Range {
        start: mapping.frame,
        len: mapping.len,
    }
}

/// Where a mapping leads from.
pub(crate) const fn addresses(mapping: &Mapping) -> Range {
    Range {
        start: mapping.at,
        len: mapping.len,
    }
}

/// The address that leads to a frame of a mapping.
pub(crate) const fn address_of(mapping: &Mapping, frame: u64) -> u64 {
    mapping.at.wrapping_add(frame.wrapping_sub(mapping.frame))
}

/// The frame at an address.
pub(crate) const fn frame_at(start: u64) -> Range {
    Range { start, len: FRAME }
}
