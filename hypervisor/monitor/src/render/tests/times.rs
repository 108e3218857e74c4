//! `top`.

use super::super::*;
use alloc::vec;
use proto::{Class, CoreTimes, MachineTimes, Reservation, VcpuTimes};
use spec::{Hz, Ticks};

/// A machine of 1 MHz that came up at 1 s; what it tells at so many seconds of its own.
fn at(seconds: u64) -> MachineTimes {
    let us = |share: u64| Ticks(seconds * 1_000_000 * share / 100);
    let core = |core, busy, host| CoreTimes {
        core,
        idle: us(100 - busy - host),
        busy: us(busy),
        host: us(host),
        switches: seconds * 1234,
        worst_switch: Ticks(17),
        cleared: proto::Cleared::default(),
    };
    let vcpu = |vm: &str, vcpu, class, [run, wait, throttled]: [u64; 3]| VcpuTimes {
        vm: vm.into(),
        vcpu,
        core: vcpu,
        class,
        run: us(run),
        reserved: us(0),
        wait: us(wait),
        throttled: us(throttled),
        blocked: us(100 - run - wait - throttled),
        turns: seconds * 50,
        worst_wait: Ticks(20_300),
        worst_late: Ticks(12),
        missed: seconds / 2,
        moves: 0,
    };
    let pool = |weight, reservation| Class::Pool {
        weight,
        reservation,
    };
    let reservation = Some(Reservation {
        budget: 200_000,
        period: 1_000_000,
    });
    MachineTimes {
        tsc: Hz(1_000_000),
        entered: Ticks(1_000_000),
        now: Ticks((seconds + 1) * 1_000_000),
        cores: vec![core(0, 70, 2), core(1, 0, 0)],
        vcpus: vec![
            vcpu("control", 0, pool(None, reservation), [20, 0, 30]),
            vcpu("debian", 0, pool(Some(100), None), [25, 25, 0]),
            vcpu("debian", 1, pool(Some(50), reservation), [50, 50, 0]),
            vcpu("nav", 0, Class::Cyclic, [10, 1, 0]),
            vcpu("own", 0, Class::Dedicated, [100, 0, 0]),
        ],
    }
}

#[test]
fn the_first_is_since_the_machine_came_up() {
    assert_eq!(
        render(&Answer::Times(at(10))),
        "\
Since the machine came up, 10.000s ago:
CORE   BUSY    IDLE  HOST  SWITCHES/S  LONGEST
   0  70.0%   28.0%  2.0%        1234   17.0us
   1   0.0%  100.0%  0.0%        1234   17.0us

VCPU       CORE  CLASS                       RUN   WAIT  LIMIT   IDLE  TURNS/S  WAITED    LATE  MISSED
control/0     0  200us of 1ms              20.0%   0.0%  30.0%  50.0%       50  20.3ms  12.0us       5
debian/0      0  weight 100                25.0%  25.0%   0.0%  50.0%       50  20.3ms  12.0us       5
debian/1      1  200us of 1ms, weight 50   50.0%  50.0%   0.0%   0.0%       50  20.3ms  12.0us       5
nav/0         0  cyclic                    10.0%   1.0%   0.0%  89.0%       50  20.3ms  12.0us       5
own/0         0  dedicated                100.0%   0.0%   0.0%   0.0%       50  20.3ms  12.0us       5
"
    );
}

#[test]
fn the_next_is_since_the_one_before() {
    let before = at(10);
    let mut now = at(12);
    // In these two seconds the first core did nothing, and the first vCPU waited.
    now.cores[0].busy = before.cores[0].busy;
    now.cores[0].host = before.cores[0].host;
    now.cores[0].idle = before.cores[0].idle.after(Ticks(2_000_000));
    now.cores[0].switches = before.cores[0].switches + 3;
    now.vcpus[0].run = before.vcpus[0].run;
    now.vcpus[0].wait = before.vcpus[0].wait.after(Ticks(1_500_000));
    let text = top(&now, Some(&before));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Since the last `top`, 2.000s ago:"));
    let core = lines.nth(1).unwrap();
    assert_eq!(core, "   0  0.0%  100.0%  0.0%           1   17.0us");
    let control = text
        .lines()
        .find(|line| line.starts_with("control"))
        .unwrap();
    assert!(
        control.contains("   0.0%  75.0%  30.0%  50.0%       50  20.3ms  12.0us       1"),
        "{text}"
    );
}

#[test]
fn another_machine_is_not_subtracted() {
    let before = at(10);
    let mut now = at(12);
    now.entered = Ticks(2_000_000);
    assert!(top(&now, Some(&before)).starts_with("Since the machine came up, 11.000s ago"));
    let same = top(&before, Some(&before));
    assert!(same.starts_with("Since the machine came up, 10.000s ago"));
}

#[test]
fn odd_times_are_no_fault() {
    let mut odd = at(1);
    odd.tsc = Hz(u64::MAX);
    odd.now = odd.entered;
    odd.cores[0].busy = Ticks(u64::MAX);
    odd.cores[0].switches = u64::MAX;
    odd.vcpus[0].turns = u64::MAX;
    odd.vcpus[0].vm = "\x1b[2J".into();
    assert!(!top(&odd, Some(&at(3))).contains('\x1b'));
}
