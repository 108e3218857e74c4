//! What holds for any text and any plan.

mod pieces;

use pieces::piece;
use plan::{
    CONSOLE_CORE, Cores, Cyclic, DEFAULT_BOOT, Exits, Facts, Format, Interrupts, MAX_VCPUS,
    MAX_WEIGHT, Module, Plan, Recovery, Reservation, Runs, Share, Smt, Spare, Start, Then, Vm,
    Window,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use spec::Gpa;
use spec::apic::Carrier;
use std::collections::{BTreeMap, BTreeSet};

/// Judges bytes as `boot` does, and checks what holds for every refusal.
fn judge(bytes: &[u8], facts: &Facts<'_>) -> Option<Plan> {
    let judged = plan::text(bytes, "a.toml").and_then(|text| plan::parse(text, "a.toml", facts));
    match judged {
        Ok(plan) => Some(plan),
        Err(refusal) => {
            assert!(refusal.count() > 0);
            let text = refusal.render(false);
            assert!(text.starts_with("error: "), "{text}");
            assert!(text.contains("help: "), "{text}");
            assert!(text.contains("--> a.toml:"), "{text}");
            assert!(
                text.bytes()
                    .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
                "{text:?}"
            );
            assert!(!refusal.render(true).is_empty());
            None
        }
    }
}

/// A file for each path: its size depends on the path, and some are missing.
fn some_size(path: &str) -> Option<u64> {
    match path.len() % 5 {
        0 => None,
        n => Some((n as u64 - 1) << 22),
    }
}

/// A file for each path, none of them missing or large.
fn small_size(path: &str) -> Option<u64> {
    Some(1 + ((path.len() as u64) << 16))
}

/// What may be known beside the text.
type Known = (Option<u64>, Option<(u8, u8)>, bool);

fn facts((memory, cores, ask): Known) -> Facts<'static> {
    Facts {
        memory,
        cores: cores.map(|(physical, more)| Cores {
            physical: u32::from(physical),
            threads: u32::from(physical) + u32::from(more),
        }),
        files: ask.then_some(&some_size as _),
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9-]{1,31}"
}

fn path() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_~+-]([a-zA-Z0-9_. ~+-]{0,20}[a-zA-Z0-9_~+-])?(/[a-zA-Z0-9_~+-]{1,12}){0,3}"
}

fn format(memory: u64) -> impl Strategy<Value = Format> {
    let flat = |start: Start, from: u64, to: u64| {
        (from..to).prop_map(move |load| Format::Flat {
            load: Gpa(load),
            start,
        })
    };
    let main = (0x10_0000, memory.min(0xc000_0000));
    prop_oneof![
        select(vec![
            Format::Auto,
            Format::BzImage,
            Format::Elf64,
            Format::Pvh,
            Format::Multiboot
        ]),
        flat(Start::Real, 0, 0xa_0000),
        flat(Start::Long, 0, 0xa_0000),
        flat(Start::Protected, main.0, main.1),
        flat(Start::Long, main.0, main.1),
    ]
}

fn modules() -> impl Strategy<Value = Vec<Module>> {
    let module = (path(), "[ -~]{0,40}").prop_map(|(path, cmdline)| Module { path, cmdline });
    vec(module, 0..4)
}

/// One VM, its vCPUs shared.
fn vm() -> impl Strategy<Value = Vm> {
    // The whole range of sizes and, more often, the small ones.
    let memory = prop_oneof![1..=512u64, 1..=(1u64 << 19)].prop_map(|steps| steps << 21);
    let kernel = memory.prop_flat_map(|memory| (path(), format(memory), Just(memory)));
    let rest = (proptest::option::of(path()), "[ -~]{0,2047}", modules());
    let life = (any::<bool>(), recovery(), watchdog());
    (kernel, rest, name(), 1..=MAX_VCPUS, life).prop_map(
        |(
            (kernel, format, memory),
            (initrd, cmdline, modules),
            name,
            vcpus,
            (autostart, recovery, watchdog),
        )| {
            let real = matches!(
                format,
                Format::Flat {
                    start: Start::Real,
                    ..
                }
            );
            let multiboot = format == Format::Multiboot;
            // One file cannot be both.
            let initrd = initrd.filter(|initrd| !initrd.eq_ignore_ascii_case(&kernel));
            Vm {
                name,
                kernel,
                format,
                initrd: initrd.filter(|_| !real && !multiboot),
                cmdline: if real { String::new() } else { cmdline },
                modules: if multiboot { modules } else { vec![] },
                memory,
                vcpus,
                runs: Runs::Pool(Share::default()),
                interrupts: Interrupts::Auto,
                exits: Exits::Any,
                autostart,
                recovery,
                watchdog,
            }
        },
    )
}

fn watchdog() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of((1..=3_600_000u64).prop_map(|ms| ms * 1_000_000))
}

fn recovery() -> impl Strategy<Value = Recovery> {
    let then = || select(vec![Then::Restart, Then::Stop]);
    let times = (0..=60_000_000_000u64, 1_000_000..=3_600_000_000_000u64);
    (then(), then(), 1..=1_000_000u32, times).prop_map(
        |(on_crash, on_reboot, restarts, (delay, window))| {
            let usual = Recovery {
                on_crash,
                on_reboot,
                ..Recovery::default()
            };
            match on_crash {
                Then::Stop => usual,
                Then::Restart => Recovery {
                    restarts,
                    delay,
                    window,
                    ..usual
                },
            }
        },
    )
}

fn share() -> impl Strategy<Value = Share> {
    let period = prop_oneof![100_000..2_000_000u64, 100_000..=10_000_000_000u64];
    let reservation = period.prop_flat_map(|period| {
        (10_000..=period).prop_map(move |budget| Reservation { budget, period })
    });
    prop_oneof![
        Just(Share::default()),
        (1..=MAX_WEIGHT).prop_map(|weight| Share {
            weight: Some(weight),
            reservation: None
        }),
        (
            proptest::option::of(1..=MAX_WEIGHT),
            reservation.prop_map(Some)
        )
            .prop_map(|(weight, reservation)| Share {
                weight,
                reservation
            }),
    ]
}

/// How a VM runs: on cores of its own, with a share, or in windows of the table with this number.
#[derive(Clone, Debug)]
enum Class {
    Dedicated,
    Pool(Share),
    Windows(usize),
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Dedicated),
        share().prop_map(Class::Pool),
        (0..TABLES).prop_map(Class::Windows)
    ]
}

fn interrupts() -> impl Strategy<Value = (Interrupts, Exits)> {
    let any = select(vec![
        Interrupts::Auto,
        Interrupts::Software,
        Interrupts::Accelerated,
        Interrupts::Direct,
    ]);
    let none = select(vec![Interrupts::Auto, Interrupts::Direct]);
    let boot = prop_oneof![1_000_000..=3_600_000_000_000u64, Just(DEFAULT_BOOT)];
    prop_oneof![
        any.prop_map(|interrupts| (interrupts, Exits::Any)),
        (none, boot).prop_map(|(interrupts, boot)| (interrupts, Exits::None { boot })),
    ]
}

/// Most cyclic tables of a plan that is made here.
const TABLES: usize = 2;

/// Windows of one table: a pause before each of them, and its length.
fn table() -> impl Strategy<Value = (Spare, Vec<(u64, u64)>, u64)> {
    let window = (prop_oneof![Just(0), 0..1_000_000u64], 10_000..10_000_000u64);
    let spare = select(vec![Spare::Idle, Spare::Pool]);
    (spare, vec(window, 1..20), 0..1_000_000u64)
}

fn cyclic(
    core: u32,
    (spare, lengths, rest): (Spare, Vec<(u64, u64)>, u64),
    vcpus: &[(u32, u32)],
) -> Cyclic {
    // Each has one at least, and some have several.
    let count = vcpus.len().max(lengths.len());
    let lengths = lengths.iter().cycle().take(count);
    let mut end = 0;
    let window = |((vm, vcpu), (pause, length)): (&(u32, u32), &(u64, u64))| {
        let at = end + pause;
        end = at + length;
        Window {
            vm: *vm,
            vcpu: *vcpu,
            at,
            length: *length,
        }
    };
    let windows = vcpus.iter().cycle().zip(lengths).map(window).collect();
    Cyclic {
        core,
        frame: (end + rest).max(100_000),
        spare,
        windows,
    }
}

fn valid() -> impl Strategy<Value = Plan> {
    let cores = Just((0..600).collect::<Vec<u32>>()).prop_shuffle();
    let smt = select(vec![Smt::Off, Smt::Share]);
    let vms = vec((vm(), class(), interrupts()), 1..5);
    let tables = vec(table(), TABLES);
    (vms, cores, tables, smt, any::<bool>()).prop_map(
        |(vms, mut cores, tables, smt, statistics)| {
            let mut named = BTreeSet::new();
            let mut own =
                |(mut vm, class, (interrupts, exits)): (Vm, Class, (Interrupts, Exits))| {
                    let mut table = None;
                    vm.runs = match class {
                        Class::Dedicated => {
                            Runs::Dedicated(cores.split_off(cores.len() - vm.vcpus as usize))
                        }
                        Class::Pool(share) => Runs::Pool(share),
                        Class::Windows(number) => {
                            table = Some(number);
                            Runs::Cyclic
                        }
                    };
                    let lent = vm
                        .dedicated()
                        .is_some_and(|cores| !cores.contains(&CONSOLE_CORE));
                    if lent || (interrupts != Interrupts::Direct && exits == Exits::Any) {
                        (vm.interrupts, vm.exits) = (interrupts, exits);
                        // A watchdog is fed by exits.
                        vm.watchdog = vm.watchdog.filter(|_| exits == Exits::Any);
                    }
                    (vm, table)
                };
            let vms = vms
                .into_iter()
                .filter(|(vm, ..)| named.insert(vm.name.clone()));
            let (vms, on): (Vec<Vm>, Vec<Option<usize>>) = vms.map(&mut own).unzip();
            let cyclic = (0..).zip(tables).filter_map(|(number, lengths)| {
                let vms = (0..)
                    .zip(&vms)
                    .zip(&on)
                    .filter(|(_, on)| **on == Some(number));
                let vcpus: Vec<(u32, u32)> = vms
                    .flat_map(|((index, vm), _)| (0..vm.vcpus).map(move |vcpu| (index, vcpu)))
                    .collect();
                let core = cores.pop().expect("there are enough");
                (!vcpus.is_empty()).then(|| cyclic(core, lengths, &vcpus))
            });
            let cyclic = cyclic.collect();
            Plan {
                smt,
                statistics,
                cyclic,
                vms,
            }
        },
    )
}

/// Cores, windows and reservations of an accepted plan on a machine with so many cores.
fn runs_as_it_says(plan: &Plan, cores: u32) -> Result<(), TestCaseError> {
    let placed = plan.place(cores);
    let mut own = BTreeSet::new();
    let mut others = BTreeSet::new();
    // Exact sums, of budgets in a period that all periods divide, would not fit: floating point is near enough.
    let mut reserved: BTreeMap<u32, f64> = BTreeMap::new();
    let tables: BTreeMap<u32, &Cyclic> = plan
        .cyclic
        .iter()
        .map(|table| (table.core, table))
        .collect();
    prop_assert_eq!(tables.len(), plan.cyclic.len());
    for ((index, vm), on) in (0..).zip(&plan.vms).zip(&placed) {
        let lends = vm.interrupts == Interrupts::Direct || vm.exits != Exits::Any;
        if let Exits::None { boot } = vm.exits {
            prop_assert!((1_000_000..=3_600_000_000_000).contains(&boot));
        }
        for (vcpu, core) in (0..).zip(on) {
            let lent = vm.carrier(vcpu) == Carrier::Direct;
            prop_assert!(lent || !lends);
            prop_assert!(!lent || (*core != CONSOLE_CORE && vm.dedicated().is_some()));
        }
        for (vcpu, core) in (0..).zip(on) {
            match &vm.runs {
                Runs::Dedicated(_) => prop_assert!(own.insert(*core) && !tables.contains_key(core)),
                Runs::Pool(Share {
                    weight,
                    reservation,
                }) => {
                    others.insert(*core);
                    prop_assert!(weight.is_none_or(|weight| (1..=MAX_WEIGHT).contains(&weight)));
                    prop_assert!(weight.is_some() || reservation.is_some());
                    prop_assert!(plan.pool(cores).contains(core));
                    if let Some(Reservation { budget, period }) = reservation {
                        prop_assert!((1..=*period).contains(budget) && !tables.contains_key(core));
                        *reserved.entry(*core).or_default() += *budget as f64 / *period as f64;
                    }
                }
                Runs::Cyclic => {
                    others.insert(*core);
                    let with = |table: &&Cyclic| {
                        table
                            .windows
                            .iter()
                            .any(|w| (w.vm, w.vcpu) == (index, vcpu))
                    };
                    let with: Vec<u32> = plan
                        .cyclic
                        .iter()
                        .filter(with)
                        .map(|table| table.core)
                        .collect();
                    prop_assert_eq!(with, [*core]);
                }
            }
        }
    }
    prop_assert!(own.is_disjoint(&others));
    prop_assert!(
        reserved.values().all(|sum| *sum <= 1.0 + 1e-6),
        "{reserved:?}"
    );
    prop_assert_eq!(plan.admit(cores, 0), Ok(()));
    for table in &plan.cyclic {
        let mut free = 0;
        for window in &table.windows {
            prop_assert!(window.at >= free && window.length > 0);
            free = window.at + window.length;
            let vm = &plan.vms[window.vm as usize];
            prop_assert!(window.vcpu < vm.vcpus && vm.runs == Runs::Cyclic);
        }
        prop_assert!(free <= table.frame && !table.windows.is_empty());
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..400), known in any::<Known>()) {
        judge(&bytes, &facts(known));
    }

    #[test]
    fn no_nearly_right_text_panics(pieces in vec(piece(), 0..60), known in any::<Known>()) {
        judge(pieces.concat().as_bytes(), &facts(known));
    }

    #[test]
    fn no_damaged_plan_panics(plan in valid(), cuts in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), known in any::<Known>()) {
        let mut bytes = plan.to_string().into_bytes();
        for (at, byte) in cuts {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        judge(&bytes, &facts(known));
    }

    #[test]
    fn a_plan_reads_back_as_itself(plan in valid()) {
        let text = plan.to_string();
        prop_assert_eq!(judge(text.as_bytes(), &Facts::default()), Some(plan), "{}", text);
    }

    #[test]
    fn what_is_accepted_keeps_its_promises(more in prop_oneof![3 => Just(vec![]), 1 => vec(piece(), 1..4)], plan in valid(), memory in (24..48u32).prop_map(|n| 1u64 << n), there in select(vec![1, 600, 600, 600u32])) {
        // Much of what is added makes the text wrong, some leaves it right.
        let text = plan.to_string() + &more.concat();
        let facts = Facts {
            memory: Some(memory),
            cores: Some(Cores { physical: there, threads: there }),
            files: Some(&small_size),
        };
        if let Some(plan) = judge(text.as_bytes(), &facts) {
            prop_assert!((1..=plan::MAX_VMS).contains(&plan.vms.len()));
            let all: u64 = plan.vms.iter().map(|vm| vm.memory).sum();
            prop_assert!(all <= memory);
            for (vm, on) in plan.vms.iter().zip(plan.place(there)) {
                prop_assert!(vm.memory % (2 << 20) == 0 && vm.memory > 0);
                prop_assert!((1..=MAX_VCPUS).contains(&vm.vcpus) && on.len() == vm.vcpus as usize);
                prop_assert!(on.iter().all(|core| *core < there));
                let files = [Some(&vm.kernel), vm.initrd.as_ref()].into_iter().flatten();
                let files = files.chain(vm.modules.iter().map(|module| &module.path));
                let size: u64 = files.map(|file| small_size(file).expect("it is there")).sum();
                prop_assert!(size > 0 && size < vm.memory);
                if let Format::Flat { load, .. } = vm.format {
                    let end = load.0 + small_size(&vm.kernel).expect("it is there");
                    prop_assert!(plan::layout::ram(vm.memory).iter().any(|ram| ram.contains(&load.0) && end <= ram.end));
                }
            }
            runs_as_it_says(&plan, there)?;
            prop_assert_eq!(judge(plan.to_string().as_bytes(), &Facts::default()), Some(plan));
        }
    }
}
