//! A VMCS in a map, for tests: it knows widths, refuses what a processor refuses, and counts accesses.

use crate::Vmcs;
use core::cell::Cell;
use spec::vmcs::{Field, FieldKind};
use std::collections::BTreeMap;

/// The fake. Fields never written read as zero.
#[derive(Clone, Debug, Default)]
pub struct MapVmcs {
    fields: BTreeMap<Field, u64>,
    reads: Cell<u32>,
    writes: u32,
}

impl MapVmcs {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field as the processor would at an exit: read-only ones too, and without counting.
    pub fn set(&mut self, field: Field, value: u64) {
        self.fields.insert(field, value & field.mask());
    }

    /// The value of a field, without counting.
    #[must_use]
    pub fn get(&self, field: Field) -> u64 {
        self.fields.get(&field).copied().unwrap_or(0)
    }

    /// The fields that were written.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.fields.keys().copied()
    }

    /// Reads and writes since the last call of this.
    pub fn take_counts(&mut self) -> (u32, u32) {
        let counts = (self.reads.get(), self.writes);
        self.reads.set(0);
        self.writes = 0;
        counts
    }
}

impl Vmcs for MapVmcs {
    fn read(&self, field: Field) -> u64 {
        assert!(field.name().is_some(), "VMREAD of undefined {field:?}");
        self.reads.set(self.reads.get() + 1);
        self.get(field)
    }

    fn write(&mut self, field: Field, value: u64) {
        assert!(field.name().is_some(), "VMWRITE of undefined {field:?}");
        assert!(
            field.kind() != FieldKind::ExitInformation,
            "VMWRITE of read-only {field:?}"
        );
        assert!(
            value & !field.mask() == 0,
            "{value:#x} does not fit {field:?}"
        );
        self.writes += 1;
        self.set(field, value);
    }
}
