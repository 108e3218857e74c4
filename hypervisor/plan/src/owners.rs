//! Who has which of one machine's cores.

use crate::claims::Claim;
use crate::cores::Wish;
use crate::cyclic::Read;
use crate::model::Spare;
use crate::refusal::{Finding, Findings};
use crate::units::{counted, list};
use crate::{Cores, Smt};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use toml::Spanned;

/// The cores of a machine, as far as it is known.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) smt: Smt,
    pub(crate) there: Option<Cores>,
}

impl Machine {
    /// How many can be named.
    pub(crate) fn named(self) -> Option<u32> {
        self.there.map(|there| there.named(self.smt))
    }

    /// Whether a core is there, or may be; if not, it is a finding.
    fn has(self, core: &Spanned<u32>, findings: &mut Findings) -> bool {
        match self.there {
            Some(there) if *core.get_ref() >= there.named(self.smt) => {
                not_there(core, self.smt, there, findings);
                false
            }
            _ => true,
        }
    }
}

/// A core, and the VM that it is for or none, with the place where the file says so.
type Owners = BTreeMap<u32, (usize, Range<usize>)>;

/// Holds what VMs and tables want against each other, and against the cores that there are. `tables` is `None` if they
/// could not be read; `in_windows` says which VMs have windows.
pub(crate) fn judge(
    claims: &[Claim],
    tables: Option<&[Read]>,
    in_windows: impl Fn(usize) -> bool,
    machine: Machine,
    findings: &mut Findings,
) {
    let mut owners = Owners::new();
    let mut twice = Vec::new();
    for (vm, wish) in wishes(claims) {
        for core in wish.cores.iter().flatten() {
            if !machine.has(core, findings) {
                continue;
            }
            match owners.entry(*core.get_ref()) {
                Entry::Vacant(entry) => {
                    entry.insert((vm, core.span()));
                }
                Entry::Occupied(first) => twice.push((vm, core, first.get().clone())),
            }
        }
    }
    let mut tabled = BTreeMap::new();
    let mut doubled = Vec::new();
    for table in tables.into_iter().flatten() {
        if machine.has(&table.core, findings) {
            match tabled.entry(*table.core.get_ref()) {
                Entry::Vacant(entry) => {
                    entry.insert(table);
                }
                Entry::Occupied(first) => doubled.push((&table.core, first.get().core.span())),
            }
        }
    }
    let free = machine.named().map(|named| {
        let free = |core: &u32| !owners.contains_key(core) && !tabled.contains_key(core);
        (0..named).filter(free).collect::<Vec<u32>>()
    });
    for (vm, core, (first_vm, first)) in twice {
        dedicated_twice(core, vm == first_vm, first, free.as_deref(), findings);
    }
    for (core, first) in doubled {
        findings.add(
            Finding::new(
                format!("core {} has two tables", core.get_ref()),
                core.span(),
            )
            .label("here again")
            .related(first, "first here")
            .mend("put all windows of a core into one table, or name another core"),
        );
    }
    for table in tabled.values() {
        if let Some((_, own)) = owners.get(table.core.get_ref()) {
            table_on_own(&table.core, own.clone(), free.as_deref(), findings);
        }
    }
    if let (Some(free), Some(named), Some(_)) = (free, machine.named(), tables) {
        let spare = tabled
            .iter()
            .any(|(core, table)| table.spare == Spare::Pool && !owners.contains_key(core));
        let used = [
            owners.len(),
            tabled
                .keys()
                .filter(|core| !owners.contains_key(core))
                .count(),
        ];
        for (_, wish) in
            wishes(claims).filter(|(vm, wish)| wish.cores.is_none() && !in_windows(*vm))
        {
            no_core(wish, (named, used), !free.is_empty(), spare, findings);
        }
    }
}

fn wishes(claims: &[Claim]) -> impl Iterator<Item = (usize, &Wish)> {
    let claims = claims.iter().enumerate();
    claims.filter_map(|(vm, claim)| Some((vm, claim.wish.as_ref()?)))
}

fn dedicated_twice(
    core: &Spanned<u32>,
    same: bool,
    first: Range<usize>,
    free: Option<&[u32]>,
    findings: &mut Findings,
) {
    let again = if same {
        "here again, in the same VM"
    } else {
        "here again, in another VM"
    };
    findings.add(
        Finding::new(
            format!("core {} is dedicated twice", core.get_ref()),
            core.span(),
        )
        .label(again)
        .related(first, "first here")
        .mend(another("a dedicated core runs one vCPU", free)),
    );
}

fn table_on_own(
    core: &Spanned<u32>,
    own: Range<usize>,
    free: Option<&[u32]>,
    findings: &mut Findings,
) {
    findings.add(
        Finding::new(
            format!("core {} has a table and is a VM's own", core.get_ref()),
            core.span(),
        )
        .label("the table's core")
        .related(own, "dedicated here")
        .mend(another("a dedicated core runs one vCPU", free)),
    );
}

/// What to do about a core that is taken.
fn another(why: &str, free: Option<&[u32]>) -> String {
    match free {
        None => format!("{why}: name another core"),
        Some([]) => format!("{why}, and all cores of this machine are named"),
        Some(free) => format!("{why}: name one that is free, such as {}", list(free)),
    }
}

/// A VM of the pool for which nothing is left.
fn no_core(
    wish: &Wish,
    (named, [dedicated, tables]): (u32, [usize; 2]),
    free: bool,
    spare: bool,
    findings: &mut Findings,
) {
    let reserves = wish
        .share
        .as_ref()
        .filter(|asked| asked.share.reservation.is_some());
    let (at, label) = match reserves {
        _ if free => return,
        Some(asked) => (
            asked.at.clone(),
            "a reservation needs a core that is nobody's own and has no table",
        ),
        None if spare => return,
        None => (
            wish.at.clone(),
            "names no `cores`, so it takes turns on those that are nobody's own",
        ),
    };
    let mut note = counted(u64::from(named), "core");
    for (count, what) in [(dedicated, "dedicated"), (tables, "with a table")] {
        if count > 0 {
            note.push_str(&format!(" - {count} {what}"));
        }
    }
    findings.add(
        Finding::new("no core is left for this VM", at)
            .label(label)
            .note(format!("{note} = none left"))
            .mend(match (dedicated, tables, reserves) {
                (_, 0, _) => "leave `cores` out of another VM, or name fewer",
                (0, _, None) => "use fewer tables, or let the pool have what one leaves: `spare = \"pool\"`",
                (0, _, Some(_)) => "use fewer tables",
                (_, _, None) => "name fewer `cores`, or let the pool have what a table leaves: `spare = \"pool\"`",
                (_, _, Some(_)) => "name fewer `cores`, or use fewer tables",
            }),
    );
}

fn not_there(core: &Spanned<u32>, smt: Smt, there: Cores, findings: &mut Findings) {
    let number = *core.get_ref();
    let named = there.named(smt);
    let last = named.saturating_sub(1);
    let of = |what| counted(u64::from(named), what);
    let note = match smt {
        Smt::Off if there.threads > there.physical => format!(
            "this machine has {} with {} threads; with `smt = \"off\"` each core counts once",
            of("core"),
            there.threads
        ),
        Smt::Off => format!("this machine has {}", of("core")),
        Smt::Share => format!("this machine has {}", of("thread")),
    };
    let (label, mend) = match last {
        0 => ("0 is the only number".to_string(), "write 0".to_string()),
        _ => (
            format!("the numbers are 0 to {last}"),
            format!("use a number from 0 to {last}"),
        ),
    };
    let or_share = if smt == Smt::Off && number < there.threads {
        ", or `smt = \"share\"`, which counts threads"
    } else {
        ""
    };
    findings.add(
        Finding::new(format!("there is no core {number}"), core.span())
            .label(label)
            .note(note)
            .mend(format!("{mend}{or_share}")),
    );
}
