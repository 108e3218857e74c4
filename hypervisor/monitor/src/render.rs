//! Answers as text, for people.

mod statistics;
mod table;
mod times;
mod units;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use proto::{Answer, CoreInfo, VmInfo, VmState};
use table::{Side, Table};
pub use times::top;

/// An answer in lines, each with its end.
#[must_use]
pub fn render(answer: &Answer) -> String {
    match answer {
        Answer::Vms(vms) => list(vms),
        Answer::Done(text) | Answer::Refused(text) => format!("{}\n", units::printable(text)),
        Answer::Statistics(statistics) => statistics::render(statistics),
        Answer::Cores(all) => cores(all),
        Answer::Times(times) => top(times, None),
        Answer::Trace(chunk) => format!(
            "{} events of core {}: `cargo xtask trace` draws them.\n",
            chunk.events.len(),
            chunk.core
        ),
        Answer::Survey(_) => "What can be reached from where: `cargo xtask certify` judges it.\n".to_owned(),
        Answer::Unknown => {
            "The machine's answer is of a later version than this program: use the one that comes with the machine's image.\n"
                .to_owned()
        }
    }
}

fn list(vms: &[VmInfo]) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("#", Right),
        ("NAME", Left),
        ("STATE", Left),
        ("UPTIME", Right),
        ("MEMORY", Right),
        ("VCPUS", Right),
        ("CORES", Left),
        ("EXITS", Right),
        ("EXITS/S", Right),
        ("IN ROOT", Right),
        ("LAST END", Left),
    ]);
    for (i, vm) in vms.iter().enumerate() {
        let ran = vm.uptime.0 != 0;
        let time = u128::from(vm.uptime.0);
        let on = |text: String| if ran { text } else { "-".to_owned() };
        let per_second = u128::from(vm.exits).saturating_mul(vm.tsc.0.into());
        let per_second = per_second.checked_div(time).unwrap_or(0);
        let share = units::share(vm.root_ticks, time.saturating_mul(vm.vcpus.into()));
        let end = match vm.state {
            VmState::Off => vm.last_end.as_deref().unwrap_or("never started"),
            _ => vm.last_end.as_deref().unwrap_or("-"),
        };
        let mut end = units::printable(end);
        if vm.crashes > 1 {
            end.push_str(&format!(", {} crashes", vm.crashes));
        }
        table.row([
            i.saturating_add(1).to_string(),
            units::printable(&vm.name),
            vm.state.name().to_owned(),
            on(units::duration(vm.tsc, vm.uptime)),
            units::memory(vm.memory),
            vm.vcpus.to_string(),
            units::ranges(&vm.cores),
            on(vm.exits.to_string()),
            on(per_second.to_string()),
            on(share),
            end,
        ]);
    }
    table.text()
}

fn cores(all: &[CoreInfo]) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("CORE", Right),
        ("APIC ID", Right),
        ("STATE", Left),
        ("USE", Left),
        ("VCPUS", Left),
    ]);
    for core in all {
        let vcpus: Vec<String> = core
            .vcpus
            .iter()
            .map(|it| format!("{}/{}", units::printable(&it.vm), it.vcpu))
            .collect();
        let state = if core.up { "up" } else { "absent" };
        let usage = if core.dedicated {
            "dedicated"
        } else {
            "shared"
        };
        table.row([
            core.number.to_string(),
            core.apic_id.to_string(),
            state.to_owned(),
            usage.to_owned(),
            if vcpus.is_empty() {
                "-".to_owned()
            } else {
                vcpus.join(" ")
            },
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests;
