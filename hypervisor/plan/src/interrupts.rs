//! The keys that say who carries the local APICs of a VM, and which exits it may make: `interrupts`, `exits` and `boot`.

use crate::claims::Claim;
use crate::cores::Wish;
use crate::duration;
use crate::model::{CONSOLE_CORE, DEFAULT_BOOT, Exits, Interrupts};
use crate::refusal::{Finding, Findings, Refused};
use crate::table::{self, Table};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::DeValue;

const INTERRUPTS: &[(&str, Interrupts)] = &[
    ("auto", Interrupts::Auto),
    ("software", Interrupts::Software),
    ("accelerated", Interrupts::Accelerated),
    ("direct", Interrupts::Direct),
];
const EXITS: &[(&str, Exits)] = &[
    ("any", Exits::Any),
    // The key `boot` fills it in.
    ("none", Exits::None { boot: DEFAULT_BOOT }),
];
const BOOT: &str = r#"boot = "60 s""#;
/// From a kernel that does next to nothing, to a large system on an emulated processor.
const BOOTS: RangeInclusive<u64> = 1_000_000..=3_600_000_000_000;

/// How many cores a mend names one by one.
const SHOWN: u32 = 8;

/// What one VM asks for.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) interrupts: Interrupts,
    pub(crate) exits: Exits,
    /// What of it only a core that is lent to the guest can give
    lent: Option<Lent>,
}

/// A wish that needs cores of the VM's own.
#[derive(Clone)]
struct Lent {
    /// The wish, as it is written
    what: &'static str,
    /// The place of its value
    at: Range<usize>,
    /// What must be left out to do without it, for a message
    keys: &'static str,
}

/// Reads the three keys.
pub(crate) fn read(table: &Table<'_>, findings: &mut Findings) -> Result<Asked, Refused> {
    let interrupts = choice(table, "interrupts", INTERRUPTS, findings);
    let exits = exits(table, findings);
    let (interrupts, exits) = (interrupts?, exits?);
    let carried = match interrupts {
        Interrupts::Software => Some("the hypervisor carries the local APIC"),
        Interrupts::Accelerated => Some("the hypervisor takes the host's interrupts and timers"),
        Interrupts::Auto | Interrupts::Direct => None,
    };
    if let (Exits::None { .. }, Some(carried)) = (exits, carried) {
        findings.add(
            Finding::new(
                "`exits = \"none\"` needs the processor's own local APIC",
                table.value_place("exits"),
            )
            .label("each interrupt would be an exit")
            .related(table.value_place("interrupts"), carried)
            .mend("leave `interrupts` out, or write `interrupts = \"direct\"`"),
        );
    }
    let lent = match (interrupts, exits) {
        (Interrupts::Direct, Exits::Any) => Some(("interrupts", "`interrupts`")),
        (Interrupts::Direct, Exits::None { .. }) => {
            Some(("interrupts", "`interrupts` and `exits`"))
        }
        (_, Exits::None { .. }) => Some(("exits", "`exits`")),
        (_, Exits::Any) => None,
    };
    Ok(Asked {
        interrupts,
        exits,
        lent: lent.map(|(key, keys)| Lent {
            what: match key {
                "interrupts" => "`interrupts = \"direct\"`",
                _ => "`exits = \"none\"`",
            },
            at: table.value_place(key),
            keys,
        }),
    })
}

/// Reads `exits`, and `boot`, which says from when on a promise holds.
fn exits(table: &Table<'_>, findings: &mut Findings) -> Result<Exits, Refused> {
    let exits = choice(table, "exits", EXITS, findings);
    let Some(boot) = table.get("boot") else {
        return exits;
    };
    if matches!(exits, Ok(Exits::Any)) {
        table.missing("exits", findings, || stray(table));
        return exits;
    }
    let boot = duration::read(boot, "boot", BOOTS, BOOT, findings);
    exits?;
    Ok(Exits::None {
        boot: boot?.into_inner(),
    })
}

/// A boot after which nothing changes.
fn stray(table: &Table<'_>) -> Finding {
    let finding = Finding::new(
        "`boot` has no meaning without `exits = \"none\"`",
        table.place("boot"),
    );
    match table.get("exits") {
        Some(any) => finding
            .label("exits are allowed after it too")
            .related(any.span(), "no promise")
            .mend("leave it out, or write `exits = \"none\"`"),
        None => finding
            .label("exits are allowed after it too")
            .mend("leave it out, or add a line `exits = \"none\"`"),
    }
}

fn choice<T: Copy + Default>(
    table: &Table<'_>,
    key: &str,
    choices: &[(&'static str, T)],
    findings: &mut Findings,
) -> Result<T, Refused> {
    let read = |value: &Spanned<DeValue<'_>>| table::choice(value, key, choices, findings);
    table.get(key).map_or(Ok(T::default()), read)
}

/// Holds what needs cores of a VM's own against the cores that it names. `windows` has the first window of each VM that runs
/// in such.
pub(crate) fn judge(
    claims: &[Claim],
    windows: &BTreeMap<usize, Range<usize>>,
    findings: &mut Findings,
) {
    for (vm, claim) in claims.iter().enumerate() {
        let lent = claim.interrupts.as_ref().and_then(|it| it.lent.as_ref());
        let (Some(lent), Some(wish)) = (lent, &claim.wish) else {
            continue;
        };
        match &wish.cores {
            None => shares(lent, wish, windows.get(&vm), findings),
            Some(cores) => {
                let console = cores.iter().find(|core| *core.get_ref() == CONSOLE_CORE);
                if let Some(core) = console {
                    serves(lent, core, findings);
                }
            }
        }
    }
}

/// Its vCPUs share cores with others.
fn shares(lent: &Lent, wish: &Wish, window: Option<&Range<usize>>, findings: &mut Findings) {
    let finding = Finding::new(
        format!("{} needs a core for each vCPU", lent.what),
        lent.at.clone(),
    );
    let (cores, keys) = (example(wish.vcpus), lent.keys);
    findings.add(match (window, &wish.share) {
        (Some(window), _) => finding
            .label("only a core that runs nothing else can be lent to a guest")
            .related(window.clone(), "this VM runs in windows")
            .mend(format!(
                "leave its windows out and write {cores}, or leave {keys} out"
            )),
        (None, Some(share)) => finding
            .label("only a core that runs nothing else can be lent to a guest")
            .related(share.key.1.clone(), "a share of the pool")
            .mend(format!(
                "write {cores} instead of {}, or leave {keys} out",
                share.keys()
            )),
        (None, None) => finding
            .label("this VM names no `cores`, so it takes turns with others")
            .mend(format!("write {cores}, or leave {keys} out")),
    });
}

/// It names the core that cannot be lent.
fn serves(lent: &Lent, core: &Spanned<u32>, findings: &mut Findings) {
    findings.add(
        Finding::new(
            format!("{} cannot be on core {CONSOLE_CORE}", lent.what),
            core.span(),
        )
        .label("this core serves the machine's consoles")
        .related(lent.at.clone(), "needs a core without other work")
        .mend(format!(
            "take another core, from {} on, or leave {} out",
            CONSOLE_CORE + 1,
            lent.keys
        )),
    );
}

/// A line with cores for so many vCPUs.
fn example(vcpus: u32) -> String {
    match vcpus {
        ..=SHOWN => format!(
            "a line such as `cores = {:?}`",
            (1..=vcpus).collect::<Vec<_>>()
        ),
        _ => format!("a line `cores` with {vcpus} cores, without core {CONSOLE_CORE}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::{DEFAULT_BOOT, Exits, Facts, Vm, parse};
    use alloc::format;
    use alloc::vec::Vec;
    use spec::apic::Carrier::{self, Accelerated, Direct, Software};

    fn vm(keys: &str) -> Vm {
        let text =
            format!("[[vm]]\nname = \"a\"\nkernel = \"k\"\nmemory = \"4 MiB\"\nvcpus = 2\n{keys}");
        let mut plan = parse(&text, "a.toml", &Facts::default()).unwrap();
        plan.vms.remove(0)
    }

    fn carriers(keys: &str) -> Vec<Carrier> {
        let vm = vm(keys);
        (0..2).map(|vcpu| vm.carrier(vcpu)).collect()
    }

    #[test]
    fn without_a_wish_each_vcpu_gets_the_best_that_its_core_allows() {
        assert_eq!(carriers(""), [Accelerated; 2]);
        assert_eq!(carriers("cores = [2, 1]"), [Direct; 2]);
        assert_eq!(
            carriers("cores = [1, 0]\ninterrupts = \"auto\""),
            [Direct, Accelerated]
        );
        assert_eq!(carriers("cores = [1, 2]\nexits = \"none\""), [Direct; 2]);
    }

    #[test]
    fn a_wish_is_followed() {
        let cores = "cores = [1, 2]\ninterrupts =";
        assert_eq!(carriers(&format!("{cores} \"direct\"")), [Direct; 2]);
        assert_eq!(
            carriers(&format!("{cores} \"accelerated\"")),
            [Accelerated; 2]
        );
        assert_eq!(carriers(&format!("{cores} \"software\"")), [Software; 2]);
        assert_eq!(carriers("interrupts = \"software\""), [Software; 2]);
    }

    #[test]
    fn a_promise_waits_for_the_boot_as_long_as_is_said() {
        let promises = |keys: &str| vm(&format!("cores = [1, 2]\n{keys}")).exits;
        let boot = |boot| Exits::None { boot };
        assert_eq!(promises("exits = \"any\""), Exits::Any);
        assert_eq!(promises("exits = \"none\""), boot(DEFAULT_BOOT));
        let with = |text| promises(&format!("exits = \"none\"\nboot = \"{text}\""));
        assert_eq!(with("60 s"), boot(DEFAULT_BOOT));
        assert_eq!(with("500ms"), boot(500_000_000));
        assert_eq!(with("1 ms"), boot(1_000_000));
        assert_eq!(with("3600 s"), boot(3_600_000_000_000));
    }
}
