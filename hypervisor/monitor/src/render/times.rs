//! Who had the cores, as tables: `top`.

use super::table::{Side, Table};
use super::units;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use proto::{Class, CoreTimes, MachineTimes, VcpuTimes};
use spec::{Hz, Ticks};

/// Tables of cores and vCPUs: what went on since an answer `before`, or since the machine came up.
#[must_use]
pub fn top(now: &MachineTimes, before: Option<&MachineTimes>) -> String {
    // Of another machine, or of the same before it was switched on again, nothing can be subtracted.
    let before = before.filter(|before| before.entered == now.entered && before.now < now.now);
    let span = Span {
        tsc: now.tsc,
        length: now
            .now
            .since(before.map_or(now.entered, |before| before.now)),
    };
    let length = units::duration(now.tsc, span.length);
    let since = if before.is_some() {
        "Since the last `top`"
    } else {
        "Since the machine came up"
    };
    format!(
        "{since}, {length} ago:\n{}\n{}",
        cores(now, before, span),
        vcpus(now, before, span)
    )
}

/// The time that is told of.
#[derive(Clone, Copy)]
struct Span {
    tsc: Hz,
    length: Ticks,
}

impl Span {
    /// A growing sum as its part of this time.
    fn share(self, now: Ticks, before: Option<Ticks>) -> String {
        let grown = now.since(before.unwrap_or_default());
        units::share(grown, self.length.0.into())
    }

    /// A growing count as a rate.
    fn per_second(self, now: u64, before: Option<u64>) -> String {
        let grown = now.saturating_sub(before.unwrap_or(0));
        let rate = u128::from(grown).saturating_mul(self.tsc.0.into());
        let rate = rate.checked_div(self.length.0.into()).unwrap_or(0);
        rate.to_string()
    }
}

fn cores(now: &MachineTimes, before: Option<&MachineTimes>, span: Span) -> String {
    use Side::Right;
    let mut table = Table::new(&[
        ("CORE", Right),
        ("BUSY", Right),
        ("IDLE", Right),
        ("HOST", Right),
        ("SWITCHES/S", Right),
        ("LONGEST", Right),
    ]);
    for core in &now.cores {
        let of = |it: &&CoreTimes| it.core == core.core;
        let before = before.and_then(|before| before.cores.iter().find(of));
        table.row([
            core.core.to_string(),
            span.share(core.busy, before.map(|it| it.busy)),
            span.share(core.idle, before.map(|it| it.idle)),
            span.share(core.host, before.map(|it| it.host)),
            span.per_second(core.switches, before.map(|it| it.switches)),
            units::span(span.tsc, core.worst_switch),
        ]);
    }
    table.text()
}

fn vcpus(now: &MachineTimes, before: Option<&MachineTimes>, span: Span) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("VCPU", Left),
        ("CORE", Right),
        ("CLASS", Left),
        ("RUN", Right),
        ("WAIT", Right),
        ("LIMIT", Right),
        ("IDLE", Right),
        ("TURNS/S", Right),
        ("WAITED", Right),
        ("LATE", Right),
        ("MISSED", Right),
    ]);
    for vcpu in &now.vcpus {
        let of = |it: &&VcpuTimes| it.vcpu == vcpu.vcpu && it.vm == vcpu.vm;
        let before = before.and_then(|before| before.vcpus.iter().find(of));
        let missed = vcpu.missed.saturating_sub(before.map_or(0, |it| it.missed));
        table.row([
            format!("{}/{}", units::printable(&vcpu.vm), vcpu.vcpu),
            vcpu.core.to_string(),
            class(vcpu.class),
            span.share(vcpu.run, before.map(|it| it.run)),
            span.share(vcpu.wait, before.map(|it| it.wait)),
            span.share(vcpu.throttled, before.map(|it| it.throttled)),
            span.share(vcpu.blocked, before.map(|it| it.blocked)),
            span.per_second(vcpu.turns, before.map(|it| it.turns)),
            units::span(span.tsc, vcpu.worst_wait),
            units::span(span.tsc, vcpu.worst_late),
            missed.to_string(),
        ]);
    }
    table.text()
}

/// As `vm set` would have it.
fn class(class: Class) -> String {
    match class {
        Class::Dedicated => "dedicated".to_owned(),
        Class::Cyclic => "cyclic".to_owned(),
        Class::Pool {
            weight,
            reservation,
        } => {
            let weight = weight.map(|weight| format!("weight {weight}"));
            let reservation = reservation.map(|it| {
                let (budget, period) = (units::nanos(it.budget), units::nanos(it.period));
                format!("{budget} of {period}")
            });
            match (reservation, weight) {
                (Some(reservation), Some(weight)) => format!("{reservation}, {weight}"),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => "nothing".to_owned(),
            }
        }
    }
}
