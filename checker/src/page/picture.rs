//! A picture of the machine's memory by owner.

use crate::certificate::Certificate;
use crate::layers::{Layers, between, end};
use crate::text::{size, used};
use maud::{Markup, html};
use proto::certificate::{MemoryKind, Range, Use};
use std::collections::BTreeMap;

/// Rows at most, and the least that one shows.
const ROWS: u64 = 16;
const LEAST: u64 = 1 << 20;
const WIDTH: u64 = 900;
const HEIGHT: u64 = 16;
const STEP: u64 = 20;
const LABEL: u64 = 100;

/// Colours that are told apart by people who do not see red or green (Okabe and Ito).
const VMS: [&str; 6] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442",
];

/// Whose memory is, as far as the picture tells it apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Ram(u16),
    Kept(u16),
    Hypervisor,
    Bundle,
    Free,
    Low,
    Loader,
    Firmware,
    Lost,
}

impl Owner {
    /// All that is used is in memory of one kind; of what is not, the kind tells.
    const fn of(used: &[Use], kind: &[MemoryKind]) -> Option<Self> {
        Some(match (used, kind) {
            ([Use::Ram { vm }], _) => Self::Ram(*vm),
            (
                [
                    Use::Reserved { vm }
                    | Use::NestedTables { vm }
                    | Use::Vmcs { vm }
                    | Use::Bitmap { vm }
                    | Use::VirtualApic { vm },
                ],
                _,
            ) => Self::Kept(*vm),
            (
                [
                    Use::Heap
                    | Use::HostTables
                    | Use::Stack
                    | Use::VmxRegion
                    | Use::StartUp
                    | Use::Image,
                ],
                _,
            ) => Self::Hypervisor,
            ([Use::Bundle], _) => Self::Bundle,
            ([Use::Free], _) => Self::Free,
            ([Use::LowMemory], _) => Self::Low,
            ([], [MemoryKind::Loader]) => Self::Loader,
            ([], [MemoryKind::Firmware(_)]) => Self::Firmware,
            ([], []) => return None,
            _ => Self::Lost,
        })
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Ram(vm) | Self::Kept(vm) => VMS[usize::from(vm) % VMS.len()],
            Self::Hypervisor => "#222222",
            Self::Bundle => "#8a5a2b",
            Self::Free => "#eeeeee",
            Self::Low => "#d9d9d9",
            Self::Loader => "#a6a6a6",
            Self::Firmware => "#7d7d7d",
            Self::Lost => "#d40000",
        }
    }

    /// What is kept for a VM, and it does not reach, is paler than its RAM.
    const fn opacity(self) -> &'static str {
        if matches!(self, Self::Kept(_)) {
            "0.5"
        } else {
            "1"
        }
    }

    fn name(self, certificate: &Certificate) -> String {
        let vm = |vm: u16| match certificate.plan.vms.get(usize::from(vm)) {
            Some(planned) => format!("vm {}", planned.name),
            None => format!("vm {vm}"),
        };
        match self {
            Self::Ram(of) => format!("RAM of {}", vm(of)),
            Self::Kept(of) => format!(
                "tables, bitmaps and the like of {}, and what came with its RAM in large pages",
                vm(of)
            ),
            Self::Hypervisor => "the hypervisor's heap, tables, stacks and image".to_owned(),
            Self::Bundle => used(Use::Bundle, vm),
            Self::Free => used(Use::Free, vm),
            Self::Low => used(Use::LowMemory, vm),
            Self::Loader => "the loader's, which nobody uses any more".to_owned(),
            Self::Firmware => "the firmware's".to_owned(),
            Self::Lost => "lost, or used twice".to_owned(),
        }
    }
}

pub(super) fn picture(certificate: &Certificate) -> Markup {
    let host = &certificate.survey.host;
    let owned = Layers::new(host.owned.iter().map(|it| (it.range, it.used)));
    let memory = Layers::new(host.memory.iter().map(|it| (it.range, it.kind)));
    let mut pieces: Vec<(Range, Owner)> = Vec::new();
    for known in memory.pieces() {
        for piece in owned.over(known.range) {
            pieces.extend(Owner::of(piece.of, known.of).map(|owner| (piece.range, owner)));
        }
    }
    let last = pieces.last().map_or(0, |(range, _)| end(range));
    let row = last.div_ceil(ROWS).next_power_of_two().max(LEAST);
    let rows: Vec<Range> = (0..last.div_ceil(row))
        .map(|n| between(n * row, (n + 1) * row))
        .collect();
    // A machine with much memory has a hole below 4 GiB that may be many rows.
    let shows = |at: &Range| {
        pieces
            .iter()
            .any(|(range, _)| range.start < end(at) && at.start < end(range))
    };
    let rows: Vec<Range> = rows.into_iter().filter(shows).collect();
    let mut totals: BTreeMap<Owner, u64> = BTreeMap::new();
    for (range, owner) in &pieces {
        *totals.entry(*owner).or_default() += range.len;
    }
    html! {
        p { "Each row is " (size(row)) " of host-physical memory; what is smaller than a line is drawn as one." }
        svg viewBox=(format!("0 0 {} {}", LABEL + WIDTH, rows.len() as u64 * STEP)) role="img" aria-label="Host memory by owner" {
            @for (at, y) in rows.iter().zip((0..).map(|n: u64| n * STEP)) {
                text x="0" y=(y + HEIGHT - 4) { (format!("{:#x}", at.start)) }
                @for (range, owner) in pieces.iter().filter(|(range, _)| range.start < end(at) && at.start < end(range)) {
                    (bar(at, range, *owner, y))
                }
            }
        }
        table {
            tr { th {} th { "Whose" } th { "Size" } }
            @for (owner, bytes) in &totals {
                tr {
                    td { span.swatch style=(format!("background:{};opacity:{}", owner.colour(), owner.opacity())) {} }
                    td { (owner.name(certificate)) }
                    td.number { (size(*bytes)) }
                }
            }
        }
    }
}

/// The part of a range that is in a row.
fn bar(row: &Range, range: &Range, owner: Owner, y: u64) -> Markup {
    let (from, to) = (
        range.start.max(row.start) - row.start,
        end(range).min(end(row)) - row.start,
    );
    // A row is at least WIDTH bytes, and at most 2^60.
    let scale = |bytes: u64| (u128::from(bytes) * u128::from(WIDTH) / u128::from(row.len)) as u64;
    let (left, right) = (scale(from), scale(to));
    html! {
        rect x=(LABEL + left) y=(y) width=((right - left).max(1)) height=(HEIGHT) fill=(owner.colour()) fill-opacity=(owner.opacity()) {}
    }
}
