//! Any message.

mod survey;

use crate::certificate::{Fault, Part};
use crate::trace::TraceChunk;
use crate::*;
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;
use spec::{Hz, Ticks};

fn text() -> impl Strategy<Value = String> {
    "[a-z0-9 -]{0,40}"
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::List),
        Just(Command::Cores),
        Just(Command::Off),
        text().prop_map(|vm| Command::Start { vm }),
        text().prop_map(|vm| Command::Stop { vm }),
        text().prop_map(|vm| Command::Pause { vm }),
        text().prop_map(|vm| Command::Resume { vm }),
        text().prop_map(|vm| Command::Reset { vm }),
        text().prop_map(|vm| Command::Statistics { vm }),
        set(),
        Just(Command::Times),
        (any::<u32>(), any::<u64>()).prop_map(|(core, from)| Command::Trace { core, from }),
        part().prop_map(|part| Command::Certify { part }),
        text().prop_map(|vm| Command::Plant {
            vm,
            fault: Fault::BugWithLock
        }),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(Part::Host),
        any::<u16>().prop_map(|vm| Part::Vm { vm }),
        any::<(u16, u32)>().prop_map(|(vm, vcpu)| Part::Vcpu { vm, vcpu }),
    ]
}

fn set() -> impl Strategy<Value = Command> {
    let times = any::<[Option<u64>; 2]>();
    (text(), any::<Option<u32>>(), times).prop_map(|(vm, weight, [budget, period])| Command::Set {
        vm,
        weight,
        budget,
        period,
    })
}

pub(super) fn to_machine() -> impl Strategy<Value = ToMachine> {
    let bytes = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..600);
    prop_oneof![
        any::<u16>().prop_map(|version| ToMachine::Hello { version }),
        (any::<u16>(), bytes).prop_map(|(vm, bytes)| ToMachine::Input { vm, bytes }),
        (any::<u32>(), command()).prop_map(|(id, command)| ToMachine::Request { id, command }),
    ]
}

fn vm_info() -> impl Strategy<Value = VmInfo> {
    let state = prop::sample::select(vec![
        VmState::Off,
        VmState::Starting,
        VmState::Running,
        VmState::Paused,
        VmState::Stopping,
    ]);
    let cores = prop::collection::vec(any::<u32>(), 0..9);
    let numbers = (any::<u32>(), any::<[u64; 4]>());
    (text(), state, prop::option::of(text()), cores, numbers).prop_map(
        |(name, state, last_end, cores, (vcpus, [memory, uptime, tsc, exits]))| VmInfo {
            name,
            state,
            last_end,
            vcpus,
            cores,
            memory,
            uptime: Ticks(uptime),
            tsc: Hz(tsc),
            exits,
            root_ticks: Ticks(uptime / 2),
            crashes: vcpus / 2,
        },
    )
}

fn class() -> impl Strategy<Value = Class> {
    let reservation = any::<Option<[u64; 2]>>()
        .prop_map(|both| both.map(|[budget, period]| Reservation { budget, period }));
    prop_oneof![
        Just(Class::Dedicated),
        Just(Class::Cyclic),
        (any::<Option<u32>>(), reservation).prop_map(|(weight, reservation)| Class::Pool {
            weight,
            reservation
        }),
    ]
}

fn times() -> impl Strategy<Value = MachineTimes> {
    let core = any::<[u64; 6]>().prop_map(|[core, idle, busy, host, switches, worst]| CoreTimes {
        core: core as u32,
        idle: Ticks(idle),
        busy: Ticks(busy),
        host: Ticks(host),
        switches,
        worst_switch: Ticks(worst),
        cleared: Cleared {
            changes: switches / 2,
            ibpb: switches / 3,
            rsb_fills: worst,
            l1d_flushes: 0,
            verw: 1,
        },
    });
    let vcpu = (text(), class(), any::<[u64; 8]>(), any::<[u64; 4]>()).prop_map(
        |(vm, class, [vcpu, core, run, reserved, wait, throttled, blocked, turns], rest)| {
            VcpuTimes {
                vm,
                vcpu: vcpu as u32,
                core: core as u32,
                class,
                run: Ticks(run),
                reserved: Ticks(reserved),
                wait: Ticks(wait),
                throttled: Ticks(throttled),
                blocked: Ticks(blocked),
                turns,
                worst_wait: Ticks(rest[0]),
                worst_late: Ticks(rest[1]),
                missed: rest[2],
                moves: rest[3],
            }
        },
    );
    let cores = prop::collection::vec(core, 0..5);
    let vcpus = prop::collection::vec(vcpu, 0..9);
    (any::<[u64; 3]>(), cores, vcpus).prop_map(|([tsc, entered, now], cores, vcpus)| MachineTimes {
        tsc: Hz(tsc),
        entered: Ticks(entered),
        now: Ticks(now),
        cores,
        vcpus,
    })
}

fn trace() -> impl Strategy<Value = TraceChunk> {
    let events = prop::collection::vec(any::<(u64, u64)>(), 0..99);
    (any::<u32>(), any::<[u64; 4]>(), events).prop_map(|(core, [tsc, now, first, end], events)| {
        TraceChunk {
            core,
            tsc: Hz(tsc),
            now: Ticks(now),
            first,
            end,
            events,
        }
    })
}

fn promise() -> impl Strategy<Value = Option<Promise>> {
    let breach = (text(), any::<u64>()).prop_map(|(kind, count)| Breach { kind, count });
    let breaches = prop::collection::vec(breach, 0..5);
    let promise = (any::<Option<u64>>(), breaches).prop_map(|(holds_for, breaches)| Promise {
        holds_for: holds_for.map(Ticks),
        breaches,
    });
    prop::option::of(promise)
}

fn answer() -> impl Strategy<Value = Answer> {
    let row = (
        text(),
        any::<[u64; 3]>(),
        prop::collection::vec(any::<u64>(), 0..33),
    )
        .prop_map(|(kind, [count, ticks, worst], histogram)| ExitRow {
            kind,
            count,
            ticks: Ticks(ticks),
            worst: Ticks(worst),
            histogram,
        });
    let rows = prop::collection::vec(row, 0..5);
    let vcpu = (any::<u32>(), text(), any::<u64>(), promise(), rows).prop_map(
        |(vcpu, carrier, last_exit, promise, rows)| VcpuStatistics {
            vcpu,
            core: vcpu / 2,
            carrier,
            last_exit: Ticks(last_exit),
            promise,
            rows,
        },
    );
    let statistics = (text(), prop::collection::vec(vcpu, 0..4)).prop_map(|(vm, vcpus)| {
        let tsc = Hz(2_000_000_000);
        Answer::Statistics(VmStatistics { vm, tsc, vcpus })
    });
    let core = (any::<u32>(), any::<bool>(), any::<bool>(), text()).prop_map(
        |(number, up, dedicated, vm)| CoreInfo {
            number,
            apic_id: number / 3,
            up,
            dedicated,
            vcpus: vec![Occupant { vm, vcpu: 1 }],
        },
    );
    prop_oneof![
        prop::collection::vec(vm_info(), 0..9).prop_map(Answer::Vms),
        text().prop_map(Answer::Done),
        text().prop_map(Answer::Refused),
        statistics,
        prop::collection::vec(core, 0..9).prop_map(Answer::Cores),
        times().prop_map(Answer::Times),
        trace().prop_map(Answer::Trace),
        survey::survey().prop_map(|it| Answer::Survey(it.into())),
    ]
}

pub(super) fn from_machine() -> impl Strategy<Value = FromMachine> {
    let bytes = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..600);
    let names = prop::collection::vec(text(), 0..9);
    prop_oneof![
        (any::<u16>(), names).prop_map(|(version, vms)| FromMachine::Hello { version, vms }),
        (any::<u16>(), bytes).prop_map(|(vm, bytes)| FromMachine::Console { vm, bytes }),
        text().prop_map(|line| FromMachine::Log { line }),
        (any::<u32>(), answer()).prop_map(|(id, answer)| FromMachine::Reply { id, answer }),
    ]
}
