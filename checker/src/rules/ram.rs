//! Each VM has the RAM that the plan gives it, where its memory map says.

use crate::layers::{Layers, between, end};
use crate::subject::{Subject, addresses, frames};
use crate::text;
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{Range, VmSurvey};

pub(super) const RULE: Rule = Rule {
    name: "ram",
    proves: "Each VM reaches as much memory as the plan gives it, where its memory map has RAM, and each byte by one address.",
    check,
};

/// Guest-physical addresses with nothing behind them: a PC has its VGA and option ROMs here.
const PC_HOLE: Range = between(0xa_0000, 0xe_0000);
/// Here are the registers of devices: PCI, I/O APIC, local APIC.
const DEVICE_HOLE: Range = between(0xc000_0000, 0x1_0000_0000);

/// Where the RAM of a VM with so much memory is: what would lie in the hole below 4 GiB goes on above it, what would lie in the PC's
/// is not there.
pub(crate) fn expected(memory: u64) -> Vec<Range> {
    let below = memory.min(DEVICE_HOLE.start);
    let above = end(&DEVICE_HOLE);
    let mut ranges = vec![
        between(0, PC_HOLE.start.min(below)),
        between(end(&PC_HOLE), below),
        between(above, above.saturating_add(memory - below)),
    ];
    ranges.retain(|range| range.len != 0);
    ranges
}

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    for vm in &it.whole.vms {
        let place = it.vm(vm.vm);
        if let Some(planned) = it.planned(vm.vm) {
            compare(vm, &expected(planned.memory), &place, &mut findings);
        }
        let twice = Layers::new(vm.nested.iter().map(frames).zip(0usize..));
        for piece in twice.pieces().filter(|piece| piece.of.len() > 1) {
            let what = format_args!(
                "{} is reached by {} addresses",
                text::range(&piece.range),
                piece.of.len()
            );
            findings.add(&place, what);
        }
    }
    let over = format!(
        "{} in {}",
        text::size(it.reached()),
        text::count(it.whole.vms.len(), "VM")
    );
    findings.proof(over)
}

#[derive(Clone, Copy, PartialEq)]
enum Is {
    There,
    Expected,
}

fn compare(vm: &VmSurvey, expected: &[Range], place: &str, findings: &mut Findings) {
    let there = vm
        .nested
        .iter()
        .map(|mapping| (addresses(mapping), Is::There));
    let expected = expected.iter().map(|range| (*range, Is::Expected));
    for piece in Layers::new(there.chain(expected)).pieces() {
        let times = piece.of.iter().filter(|is| **is == Is::There).count();
        let what = match (times, piece.of.contains(&Is::Expected)) {
            (1, true) => continue,
            (0, _) => "nothing is mapped, and its memory map has RAM here",
            (1, false) => "something is mapped, and its memory map has nothing here",
            _ => "mapped more than once",
        };
        findings.add(
            format!("{place}, guest-physical {}", text::range(&piece.range)),
            what,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_where_the_holes_of_a_pc_are_not() {
        assert_eq!(
            expected(16 << 20),
            [between(0, 0xa_0000), between(0xe_0000, 16 << 20)]
        );
        assert_eq!(
            expected(4 << 30),
            [
                between(0, 0xa_0000),
                between(0xe_0000, 0xc000_0000),
                between(0x1_0000_0000, 0x1_4000_0000)
            ]
        );
        assert_eq!(expected(0x1000), [between(0, 0x1000)]);
    }
}
