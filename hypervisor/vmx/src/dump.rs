//! The fields of a VMCS in words, for the report of a failed entry or a stopped VM.

use crate::fields::exists;
use crate::{Capabilities, Vmcs};
use core::fmt;
use spec::exit_reason::{self, ExitReason};
use spec::vmcs::{self, FieldKind};
use spec::vmx_error::VmxError;

/// Prints one line for each field that the processor has and that is not zero, under the manual's headings.
pub fn dump<'a, V: Vmcs>(vmcs: &'a V, capabilities: &'a Capabilities) -> impl fmt::Display + 'a {
    Dump { vmcs, capabilities }
}

struct Dump<'a, V> {
    vmcs: &'a V,
    capabilities: &'a Capabilities,
}

impl<V: Vmcs> fmt::Display for Dump<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, heading) in [
            (FieldKind::ExitInformation, "VM-exit information"),
            (FieldKind::Guest, "Guest state"),
            (FieldKind::Control, "Controls"),
            (FieldKind::Host, "Host state"),
        ] {
            writeln!(f, "{heading}")?;
            for (field, name) in vmcs::ALL {
                if field.kind() != kind || !exists(*field, self.capabilities) {
                    continue;
                }
                let value = self.vmcs.read(*field);
                if value == 0 {
                    continue;
                }
                write!(f, "  {name}: {value:#x}")?;
                match *field {
                    vmcs::EXIT_REASON => {
                        let reason = ExitReason(value as u32);
                        match exit_reason::name(reason.basic()) {
                            Some(name) => write!(f, " ({name})")?,
                            None => write!(f, " (undefined)")?,
                        }
                    }
                    vmcs::INSTRUCTION_ERROR => write!(f, " ({})", VmxError(value as u32).name())?,
                    _ => {}
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
