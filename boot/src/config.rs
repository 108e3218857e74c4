//! The config file on our own volume.

use crate::failure::Failure;
use crate::volume::Volume;
use core::cell::RefCell;
use plan::{Facts, Plan};

/// The config's name, beside the files that it names.
const FILE: &str = "bulkhead.toml";

/// Reads and checks it, with `memory` bytes for guests.
///
/// # Errors
/// [`Failure::File`] where it cannot be read, [`Failure::Config`] where it is refused.
pub fn read(volume: &mut Volume, memory: u64) -> Result<Plan, Failure> {
    // One byte more than is allowed: enough for `plan` to see that it is too long.
    let bytes = volume.read(FILE, plan::MAX_TEXT as u64 + 1)?;
    let refused = |r: plan::Refusal| Failure::Config(r.render(false));
    let text = plan::text(&bytes, FILE).map_err(refused)?;
    let volume = RefCell::new(volume);
    // A file that the firmware cannot open is not there; what went wrong shows when it is read.
    let size = |path: &str| volume.borrow_mut().size(path).ok().flatten();
    let facts = Facts {
        memory: Some(memory),
        files: Some(&size),
    };
    plan::parse(text, FILE, &facts).map_err(refused)
}
