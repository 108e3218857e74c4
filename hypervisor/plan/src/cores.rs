//! The keys that say what runs a VM: `vcpus` and `cores`.

/// Most vCPUs of one VM.
pub const MAX_VCPUS: u32 = 64;
