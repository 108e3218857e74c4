//! Faults of the hypervisor's own side.

use super::{Fault, Picks, fault, frame_of};
use crate::common::{FRAME, LOCAL_APIC, RW, RWX, WINDOW, mapping, range};
use checker::Whole;
use proto::certificate::{Cache, Mapping, MemoryKind, Owned, Use};

pub(super) const FAULTS: &[Fault] = &[
    fault("a frame that is lost", "frames", |whole, picks| {
        let free = free(whole, picks)?;
        free.range.len -= FRAME;
        Some(())
    }),
    fault(
        "a frame that could not be kept track of",
        "frames",
        |whole, picks| {
            free(whole, picks)?.used = Use::Lost;
            Some(())
        },
    ),
    fault("a frame that is used twice", "frames", |whole, picks| {
        let frame = frame_of(whole, picks, |used| {
            !matches!(used, Use::Image | Use::Bundle)
        })?;
        whole.host.owned.push(Owned {
            range: range(frame, FRAME),
            used: Use::Heap,
        });
        Some(())
    }),
    fault(
        "heap in memory that is not usable",
        "frames",
        |whole, picks| {
            let known: Vec<_> = whole
                .host
                .memory
                .iter()
                .filter(|it| it.kind != MemoryKind::Usable)
                .collect();
            let start = known.get(picks.below(known.len()))?.range.start;
            whole.host.owned.push(Owned {
                range: range(start, FRAME),
                used: Use::Heap,
            });
            Some(())
        },
    ),
    fault("code that can be written", "w-xor-x", |whole, picks| {
        picks
            .page(&mut whole.host.host, |mapping| mapping.execute)?
            .write = true;
        Some(())
    }),
    fault(
        "code that can be written at another address",
        "w-xor-x",
        |whole, picks| {
            let code = *whole.host.host.iter().find(|mapping| mapping.execute)?;
            let frame = code.frame + picks.below(16) as u64 * FRAME;
            whole.host.host.push(mapping(
                0xffff_ff00_0000_0000,
                frame,
                FRAME,
                RW,
                Cache::WriteBack,
            ));
            Some(())
        },
    ),
    fault(
        "guest memory, or free memory, that can be executed",
        "w-xor-x",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| {
                matches!(used, Use::Ram { .. } | Use::Free)
            })?;
            whole.host.host.push(mapping(
                0xffff_ff00_0000_0000,
                frame,
                FRAME,
                [true, false, true],
                Cache::WriteBack,
            ));
            Some(())
        },
    ),
    fault("all memory can be executed", "w-xor-x", |whole, picks| {
        picks
            .which(&mut whole.host.host, |mapping| {
                mapping.at >> 40 == WINDOW >> 40
            })?
            .execute = true;
        Some(())
    }),
    fault(
        "something in the lower half",
        "host-maps",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| used == Use::Heap)?;
            whole
                .host
                .host
                .push(mapping(0x40_0000, frame, FRAME, RW, Cache::WriteBack));
            Some(())
        },
    ),
    fault("a device that is cached", "host-maps", |whole, picks| {
        let device = picks.which(&mut whole.host.host, |mapping| mapping.frame == LOCAL_APIC)?;
        device.cache = Cache::WriteBack;
        Some(())
    }),
    fault("memory that is not cached", "host-maps", |whole, picks| {
        picks
            .page(&mut whole.host.host, |mapping| mapping.write)?
            .cache = Cache::Uncacheable;
        Some(())
    }),
    fault(
        "a device that nobody has named",
        "host-maps",
        |whole, picks| {
            picks
                .which(&mut whole.host.host, |mapping| mapping.frame == LOCAL_APIC)?
                .frame = 0xfec0_0000;
            Some(())
        },
    ),
    fault(
        "the firmware's tables can be written",
        "host-maps",
        |whole, picks| {
            let firmware = whole
                .host
                .memory
                .iter()
                .rfind(|it| matches!(it.kind, MemoryKind::Firmware(_)))?
                .range;
            picks
                .page(&mut whole.host.host, |mapping| {
                    mapping.frame == firmware.start
                })?
                .write = true;
            Some(())
        },
    ),
    fault(
        "a table of ours in a guest's memory",
        "host-maps",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| matches!(used, Use::Ram { .. }))?;
            whole.host.host_tables.push(range(frame, FRAME));
            Some(())
        },
    ),
    fault(
        "memory of somebody else's in the firmware's tables",
        "firmware",
        |whole, picks| {
            let frame = frame_of(whole, picks, |_| true)?;
            page(&mut whole.host.firmware, picks)?.frame = frame;
            Some(())
        },
    ),
    fault(
        "the firmware's tables reach the upper half",
        "firmware",
        |whole, picks| {
            page(&mut whole.host.firmware, picks)?.at |= 1 << 47;
            Some(())
        },
    ),
    fault("a protection that is off", "cores", |whole, picks| {
        let core = picks.of(&mut whole.host.cores)?;
        match picks.below(3) {
            0 => core.cr0 &= !(1 << 16),
            1 => core.efer &= !(1 << 11),
            _ => core.cr4 &= !(1 << 5),
        }
        Some(())
    }),
    fault(
        "a protection that one core lacks",
        "cores",
        |whole, picks| {
            let count = whole.host.cores.len();
            let core = (count > 1).then(|| 1 + picks.below(count - 1))?;
            whole.host.cores.get_mut(core)?.cr4 ^= 1 << [11, 20, 21][picks.below(3)];
            Some(())
        },
    ),
    fault(
        "a core that goes by other tables",
        "cores",
        |whole, picks| {
            picks.of(&mut whole.host.cores)?.cr3 += FRAME;
            Some(())
        },
    ),
    fault(
        "a VMXON region that a guest can write",
        "cores",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| matches!(used, Use::Ram { .. }))?;
            picks.of(&mut whole.host.cores)?.vmxon = frame;
            Some(())
        },
    ),
    fault("a VM that was not told of", "survey", |whole, picks| {
        let which = picks.below(whole.vms.len());
        whole.vms.remove(which);
        Some(())
    }),
    fault("a VM of another name", "survey", |whole, picks| {
        picks.of(&mut whole.vms)?.name.push('x');
        Some(())
    }),
    fault("a core that was not told of", "survey", |whole, picks| {
        let used = whole.vcpus.get(picks.below(whole.vcpus.len()))?.core;
        whole.host.cores.retain(|core| core.number != used);
        Some(())
    }),
];

fn free<'a>(whole: &'a mut Whole, picks: &mut Picks) -> Option<&'a mut Owned> {
    picks.which(&mut whole.host.owned, |owned| owned.used == Use::Free)
}

/// A page of a mapping, which may have but this one.
fn page<'a>(all: &'a mut Vec<Mapping>, picks: &mut Picks) -> Option<&'a mut Mapping> {
    let rwx = |mapping: &Mapping| [mapping.read, mapping.write, mapping.execute] == RWX;
    picks.page(all, rwx)
}
