//! What has to be done to branch predictors and buffers so that one VM learns nothing of another, nor of us.
//!
//! After Intel's "Affected Processors: Transient Execution Attacks" and the guidance page of each weakness that is
//! named there. No action is ever asked for that the processor does not say it has.

mod exposure;
mod facts;
mod models;
mod policy;
#[cfg(test)]
mod tests;

pub use exposure::{Exposure, Exposures};
pub use facts::{Facts, Use, Vendor};
pub use policy::policy;

use bitflags::bitflags;

bitflags! {
    /// What can be done.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Actions: u8 {
        /// Write 1 to IA32_PRED_CMD: no indirect branch is predicted from what ran before
        const IBPB = 1 << 0;
        /// Fill the return stack: 32 calls, none of which returns, and LFENCE
        const RSB_FILL = 1 << 1;
        /// VERW of a writable data segment, the last memory access before the guest's registers are loaded
        const VERW = 1 << 2;
        /// Write 1 to IA32_FLUSH_CMD
        const L1D_FLUSH = 1 << 3;
        /// One call that never returns, and LFENCE: what the return out of the VM-exit path is predicted from
        const RETURN_GUARD = 1 << 4;
    }
}

/// What this machine has to do, and what it is open to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hygiene {
    /// Before the first entry of a VM on a core that last ran another one, or that has since read or written the memory
    /// of another one, as who loads or scrubs it does. The last VM's return stack is best filled as soon as its core
    /// leaves it, since returns to older callers come before the next entry.
    pub at_vm_change: Actions,
    /// Before each entry
    pub at_entry: Actions,
    /// After each exit, before the first return
    pub at_exit: Actions,
    /// What IA32_SPEC_CTRL has to hold in root, from the exit to just before the entry; `None`: the register is not
    /// there, or its value does not matter
    pub root_spec_ctrl: Option<u64>,
    /// It has to be written after each exit, even if the guest left the same value there: IBRS of the older kind holds
    /// off only what was learnt before it was last written in root ("Indirect Branch Restricted Speculation")
    pub rewrite_spec_ctrl: bool,
    /// Guest memory that may be executed must be mapped by nested pages of 4 KiB, or a guest can stop the machine
    pub no_large_executable_pages: bool,
    /// For the log: what the processor is open to, and what is done about it
    pub exposures: Exposures,
}
