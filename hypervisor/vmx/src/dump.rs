//! The fields of a VMCS in words, for the report of a failed entry or a stopped VM.

use crate::fields::exists;
use crate::{Capabilities, Vmcs};
use core::fmt;
use spec::exit_reason::{self, ExitReason};
use spec::vmcs::{self, Field, FieldKind};
use spec::vmx_error::VmxError;

/// What comes first is what made the guest stop.
const ORDER: [FieldKind; 4] = [
    FieldKind::ExitInformation,
    FieldKind::Guest,
    FieldKind::Control,
    FieldKind::Host,
];

/// How far a dump has come. A whole one takes hundreds of thousands of ticks, so it is made line by line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dump {
    /// Index in [`ORDER`]
    kind: usize,
    /// Index in [`vmcs::ALL`]
    field: usize,
}

/// A field that is not zero, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    field: Field,
    name: &'static str,
    value: u64,
}

impl Dump {
    /// The next field that the processor has and that is not zero.
    pub fn next(&mut self, vmcs: &impl Vmcs, capabilities: &Capabilities) -> Option<Shown> {
        while let Some(kind) = ORDER.get(self.kind) {
            while let Some(&(field, name)) = vmcs::ALL.get(self.field) {
                self.field = self.field.saturating_add(1);
                if field.kind() != *kind || !exists(field, capabilities) {
                    continue;
                }
                let value = vmcs.read(field);
                if value != 0 {
                    return Some(Shown { field, name, value });
                }
            }
            self.kind = self.kind.saturating_add(1);
            self.field = 0;
        }
        None
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, name, value } = *self;
        write!(f, "{name}: {value:#x}")?;
        match field {
            vmcs::EXIT_REASON => {
                let reason = ExitReason(value as u32);
                let name = exit_reason::name(reason.basic()).unwrap_or("undefined");
                write!(f, " ({name})")
            }
            vmcs::INSTRUCTION_ERROR => write!(f, " ({})", VmxError(value as u32).name()),
            _ => Ok(()),
        }
    }
}
