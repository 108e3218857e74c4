mod times;

use super::*;
use alloc::vec;
use proto::{Breach, ExitRow, Occupant, Promise, VcpuStatistics, VmStatistics};
use spec::{Hz, Ticks};

fn debian() -> VmInfo {
    VmInfo {
        name: "debian".into(),
        state: VmState::Running,
        last_end: None,
        vcpus: 2,
        cores: vec![1, 2],
        memory: 512 << 20,
        uptime: Ticks(20_000_000_000),
        tsc: Hz(2_000_000_000),
        exits: 12_345,
        root_ticks: Ticks(400_000_000),
        crashes: 0,
    }
}

#[test]
fn a_list_is_a_table() {
    let off = VmInfo {
        name: "control".into(),
        state: VmState::Off,
        last_end: Some("power-off".into()),
        vcpus: 1,
        cores: vec![3],
        memory: 1 << 30,
        uptime: Ticks(0),
        exits: 0,
        root_ticks: Ticks(0),
        ..debian()
    };
    let never = VmInfo {
        name: "third".into(),
        last_end: None,
        ..off.clone()
    };
    let crashed = |name: &str, crashes| VmInfo {
        name: name.into(),
        last_end: Some("triple-fault".into()),
        crashes,
        ..debian()
    };
    let vms = vec![
        debian(),
        off,
        never,
        crashed("once", 1),
        crashed("often", 12),
    ];
    assert_eq!(
        render(&Answer::Vms(vms)),
        "\
#  NAME     STATE     UPTIME   MEMORY  VCPUS  CORES  EXITS  EXITS/S  IN ROOT  LAST END
1  debian   running  10.000s  512 MiB      2  1,2    12345     1234     1.0%  -
2  control  off            -    1 GiB      1  3          -        -        -  power-off
3  third    off            -    1 GiB      1  3          -        -        -  never started
4  once     running  10.000s  512 MiB      2  1,2    12345     1234     1.0%  triple-fault
5  often    running  10.000s  512 MiB      2  1,2    12345     1234     1.0%  triple-fault, 12 crashes
"
    );
}

#[test]
fn cores_say_what_they_run() {
    let core = |number, dedicated, vcpus| CoreInfo {
        number,
        apic_id: number * 2,
        up: number != 2,
        dedicated,
        vcpus,
    };
    let runs = |vm: &str, vcpu| Occupant {
        vm: vm.into(),
        vcpu,
    };
    let all = vec![
        core(0, false, vec![runs("debian", 0), runs("second", 1)]),
        core(1, true, vec![runs("control", 0)]),
        core(2, false, vec![]),
    ];
    assert_eq!(
        render(&Answer::Cores(all)),
        "\
CORE  APIC ID  STATE   USE        VCPUS
   0        0  up      shared     debian/0 second/1
   1        2  up      dedicated  control/0
   2        4  absent  shared     -
"
    );
}

#[test]
fn statistics_are_a_table_for_each_vcpu() {
    let mut histogram = vec![0; 14];
    histogram[10] = 3;
    histogram[11] = 96;
    histogram[13] = 1;
    let row = |kind: &str, count, histogram| ExitRow {
        kind: kind.into(),
        count,
        ticks: Ticks(count * 1500),
        worst: Ticks(8000),
        histogram,
    };
    let vcpu = |vcpu, rows| VcpuStatistics {
        vcpu,
        core: vcpu + 1,
        carrier: "direct".into(),
        last_exit: Ticks(24_690_000_000),
        promise: None,
        rows,
    };
    let statistics = VmStatistics {
        vm: "debian".into(),
        tsc: Hz(2_000_000_000),
        vcpus: vec![
            vcpu(
                0,
                vec![row("cpuid", 100, histogram), row("hlt", 300, vec![300])],
            ),
            vcpu(1, vec![]),
        ],
    };
    assert_eq!(
        render(&Answer::Statistics(statistics)),
        "\
debian, vCPU 0 on core 1:
local APIC direct, exits: 0 since 12.345s
EXIT   COUNT   TICKS  SHARE  MEAN  WORST  HISTOGRAM
cpuid    100  150000  25.0%  1500   8000  9..13 +# =
hlt      300  450000  75.0%  1500   8000  0..0 #
debian, vCPU 1 on core 2:
local APIC direct, exits: 0 since 12.345s
no exits
Ticks of 2000 MHz. The histogram goes from 2^a to 2^b ticks, as a..b says; each mark is a power of two,
`.` for few exits and `#` for the most.
"
    );
}

/// The lines of one vCPU, between its heading and its exits.
fn told(carrier: &str, last_exit: u64, promise: Option<Promise>) -> String {
    let vcpu = VcpuStatistics {
        vcpu: 0,
        core: 1,
        carrier: carrier.into(),
        last_exit: Ticks(last_exit),
        promise,
        rows: vec![],
    };
    let text = render(&Answer::Statistics(VmStatistics {
        vm: "debian".into(),
        tsc: Hz(1000),
        vcpus: vec![vcpu],
    }));
    let (_, text) = text.split_once("on core 1:\n").unwrap();
    let (lines, _) = text.split_once("no exits\n").unwrap();
    lines.into()
}

fn breaches(all: &[(&str, u64)]) -> Vec<Breach> {
    let breach = |(kind, count): &(&str, u64)| Breach {
        kind: (*kind).into(),
        count: *count,
    };
    all.iter().map(breach).collect()
}

#[test]
fn a_promise_is_shown_with_its_breaches_by_cause() {
    let promise = |holds_for: Option<u64>, all: &[(&str, u64)]| {
        Some(Promise {
            holds_for: holds_for.map(Ticks),
            breaches: breaches(all),
        })
    };
    assert_eq!(
        told("software", 0, None),
        "local APIC software, exits: 0 since 0.000s\n"
    );
    assert_eq!(
        told("direct", 250, promise(None, &[])),
        "local APIC direct, exits: 0 since 0.250s\npromise: booting\n"
    );
    assert_eq!(
        told("direct", 73_500, promise(Some(72_500), &[])),
        "local APIC direct, exits: 0 since 0:01:13\npromise: holds for 0:01:12\n"
    );
    assert_eq!(
        told(
            "direct",
            1500,
            promise(Some(1500), &[("cpuid", 1), ("port", 2)])
        ),
        "local APIC direct, exits: 0 since 1.500s\npromise: holds for 1.500s, breaches: 2 port, 1 cpuid\n"
    );
}

#[test]
fn a_machine_that_lies_about_breaches_is_shown_a_little_of_it() {
    let long = "x".repeat(1000);
    let promise = Promise {
        holds_for: Some(Ticks(u64::MAX)),
        breaches: breaches(&vec![(long.as_str(), u64::MAX); 1000]),
    };
    let text = told(&long, u64::MAX, Some(promise));
    assert!(text.len() < 3000, "{text}");
    assert!(text.ends_with("xx, and 968 more kinds\n"), "{text}");
    let promise = Promise {
        holds_for: None,
        breaches: breaches(&[("a\x1b[2Jb", 1)]),
    };
    let text = told("a\x1b[2Jb\n", 0, Some(promise));
    assert!(!text.contains('\x1b'), "{text}");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn sentences_are_lines_and_nothing_acts_on_the_terminal() {
    assert_eq!(
        render(&Answer::Done("debian starts.".into())),
        "debian starts.\n"
    );
    assert_eq!(render(&Answer::Refused("No\x1b[2J.".into())), "No[2J.\n");
    assert!(render(&Answer::Unknown).contains("later version"));
}

#[test]
fn odd_numbers_are_no_fault() {
    let odd = VmInfo {
        uptime: Ticks(u64::MAX),
        tsc: Hz(0),
        exits: u64::MAX,
        vcpus: u32::MAX,
        root_ticks: Ticks(u64::MAX),
        ..debian()
    };
    assert!(render(&Answer::Vms(vec![odd])).contains("debian"));
}
