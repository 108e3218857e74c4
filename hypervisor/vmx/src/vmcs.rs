//! Access to the current VMCS.

use spec::vmcs::Field;

/// The fields of one VMCS.
///
/// Callers touch only fields that the processor has and write only those that are not read-only, so an
/// implementation need not return errors: a failing VMREAD or VMWRITE is a fault of ours.
pub trait Vmcs {
    /// The value of `field`, zero-extended.
    fn read(&self, field: Field) -> u64;
    /// Sets `field`; bits beyond its width are ignored.
    fn write(&mut self, field: Field, value: u64);
}
