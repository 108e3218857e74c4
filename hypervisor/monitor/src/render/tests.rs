mod times;

use super::*;
use alloc::vec;
use proto::{ExitRow, Occupant, VcpuStatistics, VmStatistics};
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
    assert_eq!(
        render(&Answer::Vms(vec![debian(), off, never])),
        "\
#  NAME     STATE     UPTIME   MEMORY  VCPUS  CORES  EXITS  EXITS/S  IN ROOT  LAST END
1  debian   running  10.000s  512 MiB      2  1,2    12345     1234     1.0%  -
2  control  off            -    1 GiB      1  3          -        -        -  power-off
3  third    off            -    1 GiB      1  3          -        -        -  never started
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
EXIT   COUNT   TICKS  SHARE  MEAN  WORST  HISTOGRAM
cpuid    100  150000  25.0%  1500   8000  9..13 +# =
hlt      300  450000  75.0%  1500   8000  0..0 #
debian, vCPU 1 on core 2:
no exits
Ticks of 2000 MHz. The histogram goes from 2^a to 2^b ticks, as a..b says; each mark is a power of two,
`.` for few exits and `#` for the most.
"
    );
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
