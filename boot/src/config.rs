//! The config file on our own volume.

use crate::failure::Failure;
use crate::volume::Volume;
use core::cell::RefCell;
use plan::{Cores, Facts, Plan};

/// The config's name, beside the files that it names.
const FILE: &str = "bulkhead.toml";

/// What the hypervisor needs for itself beside the bundle: its image, heap and page tables, and the memory below
/// 1 MiB and around large pages that no guest gets. A guess on the safe side; what it really needs, it checks.
const HYPERVISOR: u64 = 16 << 20;
/// What it needs for each core: stacks, save areas, control structures.
const CORE: u64 = 512 << 10;

/// Reads and checks it, on a machine with `usable` bytes of memory and these cores.
///
/// # Errors
/// [`Failure::File`] where it cannot be read, [`Failure::Config`] where it is refused.
pub fn read(volume: &mut Volume, usable: u64, cores: Cores) -> Result<Plan, Failure> {
    // One byte more than is allowed: enough for `plan` to see that it is too long.
    let bytes = volume.read(FILE, plan::MAX_TEXT as u64 + 1)?;
    let refused = |r: plan::Refusal| Failure::Config(r.render(false));
    let text = plan::text(&bytes, FILE).map_err(refused)?;
    let volume = RefCell::new(volume);
    // A file that the firmware cannot open is not there; what went wrong shows when it is read.
    let size = |path: &str| volume.borrow_mut().size(path).ok().flatten();
    let check = |memory| {
        let files = Some(&size as &dyn Fn(&str) -> Option<u64>);
        let facts = Facts {
            memory,
            cores: Some(cores),
            files,
        };
        plan::parse(text, FILE, &facts)
    };
    let own = HYPERVISOR.saturating_add(CORE.saturating_mul(u64::from(cores.threads)));
    // The files stay in memory, and which they are is known only when the text is understood. Where it is not, the
    // second look finds all that is wrong at once.
    let files = check(None).map_or(own, |plan| {
        plan.files()
            .into_iter()
            .filter_map(size)
            .fold(own, u64::saturating_add)
    });
    check(Some(usable.saturating_sub(files))).map_err(refused)
}
