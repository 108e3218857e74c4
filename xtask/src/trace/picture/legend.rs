//! What colours and looks mean.

use super::{LEFT, Look, RIGHT, WIDTH, colour, path, text};
use crate::trace::recording::Recording;
use crate::trace::timeline::Timeline;
use svg::node::element::{Group, Path};

/// Height of a row.
const ROW: u32 = 20;
/// What a letter takes, on the whole.
const LETTER: u32 = 6;

/// Draws it below `top`, and gives where it ends.
pub(super) fn draw(recording: &Recording, timeline: &Timeline, top: u32) -> (Group, u32) {
    let mut vms: Vec<u8> = timeline.vcpus.keys().map(|vcpu| vcpu.vm).collect();
    vms.dedup();
    let vms = vms
        .into_iter()
        .map(|vm| (recording.vm(vm), Look::Reserved, colour(vm)));
    let looks = [
        ("window or own core", Look::Window),
        ("reservation", Look::Reserved),
        ("left-over time", Look::LeftOver),
        ("waits", Look::Waits),
        ("budget spent, or outside its windows", Look::Throttled),
        ("hypervisor", Look::Host),
        ("lost", Look::Lost),
    ];
    let any_lost = recording.cores.iter().any(|ring| ring.lost != 0);
    let looks = looks
        .into_iter()
        .filter(|(_, look)| *look != Look::Lost || any_lost)
        .map(|(name, look)| (name.to_owned(), look, "#555"));
    let (mut group, mut x, mut y) = (Group::new(), LEFT, top);
    for (name, look, colour) in vms.chain(looks) {
        let width = 34 + LETTER * name.chars().count() as u32;
        if x + width > WIDTH - RIGHT && x > LEFT {
            (x, y) = (LEFT, y + ROW);
        }
        // As a block is drawn, at half its size.
        let sample = |look: Look| {
            let y = y + look.middle() / 2;
            let path = path(look.class(), Path::new(), &format!("M0,0 h{}", 2 * 18))
                .set("transform", format!("translate({x} {y}) scale(.5)"));
            match look {
                Look::Edge | Look::Host | Look::Lost => path,
                _ => path.set("stroke", colour),
            }
        };
        group = group.add(sample(look));
        if look == Look::Window {
            group = group.add(sample(Look::Edge));
        }
        group = group.add(text(name, x + 24, y + 10));
        x += width;
    }
    (group, y + ROW + 6)
}
