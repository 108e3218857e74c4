//! Whether files fit into a guest's memory, by their sizes alone.

use crate::Start;
use crate::layout::{self, HOLE};
use crate::refusal::{Finding, Findings};
use crate::units::Bytes;
use crate::value::MEMORY_STEP;
use alloc::borrow::ToOwned;
use alloc::format;
use spec::Gpa;
use toml::Spanned;

/// Checks that the kernel, and what else is handed over, `rest`, with its name, fit into the RAM below 4 GiB, where the boot protocols want them. That is
/// necessary, not sufficient: what a kernel needs to unpack itself is in its header, which the loader reads.
pub(crate) fn files(
    kernel: Option<u64>,
    rest: Option<(&str, u64)>,
    memory: &Spanned<u64>,
    findings: &mut Findings,
) {
    let Some(kernel) = kernel else { return };
    let sum = kernel.saturating_add(rest.map_or(0, |(_, size)| size));
    let hole = HOLE.end - HOLE.start;
    let low = (*memory.get_ref()).min(layout::LOW_RAM_LIMIT);
    let room = low.saturating_sub(hole);
    if sum <= room {
        return;
    }
    let (what, files) = match rest {
        Some((rest, size)) => (
            format!("kernel and {rest} do not fit into the VM's memory"),
            format!("kernel {kernel} + {rest} {size} = {sum} bytes"),
        ),
        None => (
            "the kernel does not fit into the VM's memory".to_owned(),
            format!("kernel {kernel} bytes"),
        ),
    };
    let least = sum
        .checked_add(hole)
        .and_then(|n| n.checked_next_multiple_of(MEMORY_STEP));
    let mend = match least.filter(|least| *least <= layout::LOW_RAM_LIMIT) {
        Some(least) => format!(
            "give it more than {}: a kernel also needs room to unpack and run",
            Bytes(least)
        ),
        None => format!(
            "use smaller files: they must lie below {:#x}",
            layout::LOW_RAM_LIMIT
        ),
    };
    findings.add(
        Finding::new(what, memory.span())
            .label(format!("room for {room} bytes"))
            .note(format!(
                "{files}; room {} - {} without RAM = {room} bytes",
                Bytes(low),
                Bytes(hole)
            ))
            .mend(mend),
    );
}

/// Checks that a flat binary lies in RAM that its start mode reaches, and says whether it does.
pub(crate) fn flat(
    place: &Spanned<(Gpa, Start)>,
    size: Option<u64>,
    memory: &Spanned<u64>,
    findings: &mut Findings,
) -> bool {
    let (load, start) = *place.get_ref();
    // At least its first byte, where its size is not known.
    let len = size.unwrap_or(1);
    let end = load.0.saturating_add(len);
    let [low, main, _] = layout::ram(*memory.get_ref());
    let in_low = low.contains(&load.0) && end <= low.end;
    let in_main = start != Start::Real && main.contains(&load.0) && end <= main.end;
    if in_low || in_main {
        return true;
    }
    let (what, mend) = match start {
        Start::Real => (
            "a flat binary that starts in real mode must lie below 0xa0000",
            format!("it must end at {:#x} or below", low.end),
        ),
        Start::Protected | Start::Long => (
            "the flat binary does not lie in the VM's RAM",
            format!(
                "it must lie within {:#x}..{:#x} or below {:#x}",
                main.start, main.end, low.end
            ),
        ),
    };
    let finding = Finding::new(what, place.span())
        .related(
            memory.span(),
            format!(
                "RAM is 0..{:#x} and {:#x}..{:#x}",
                low.end, main.start, main.end
            ),
        )
        .mend(mend);
    findings.add(match size {
        Some(size) => finding
            .label(format!("it would end at {end:#x}"))
            .note(format!(
                "{:#x} + {size:#x} ({size} bytes) = {end:#x}",
                load.0
            )),
        None => finding.label("no RAM for it from here"),
    });
    false
}
