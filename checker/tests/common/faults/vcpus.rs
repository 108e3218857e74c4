//! Faults of control structures and of what they name.

use super::{Fault, Picks, fault, frame_of};
use crate::common::WINDOW;
use checker::Whole;
use proto::certificate::{MsrGrant, Use, VcpuSurvey};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "a control that keeps the guest in is off",
        "controls",
        |whole, picks| {
            let vcpu = vcpu(whole, picks)?;
            // External interrupts and HLT are a direct guest's own.
            let pin = if vcpu.carrier == "direct" {
                [3, 5, 3]
            } else {
                [0, 3, 6]
            };
            match picks.below(5) {
                0 => vcpu.pin &= !(1 << pin[picks.below(3)]),
                1 => vcpu.primary &= !(1 << [10, 11, 25, 28, 29, 31][picks.below(6)]),
                2 => vcpu.secondary &= !(1 << [1, 6][picks.below(2)]),
                3 => vcpu.exit &= !(1 << [2, 9, 18, 19, 20, 21][picks.below(6)]),
                _ => vcpu.entry &= !(1 << [2, 14, 15][picks.below(3)]),
            }
            Some(())
        },
    ),
    fault(
        "a control that nobody knows is on",
        "controls",
        |whole, picks| {
            let vcpu = vcpu(whole, picks)?;
            match picks.below(5) {
                0 => vcpu.pin |= 1 << (8 + picks.below(24)),
                1 => vcpu.primary |= 1 << [0, 9, 12, 17, 18, 23, 24, 27, 30][picks.below(9)],
                // Among them APIC accesses, VM functions, shadowing, #VE.
                2 => {
                    vcpu.secondary |= 1
                        << [
                            0, 2, 10, 11, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
                            30, 31,
                        ][picks.below(20)]
                }
                3 => vcpu.exit |= 1 << [12, 23, 24, 25, 26, 27, 28, 29, 30, 31][picks.below(10)],
                _ => {
                    vcpu.entry |= 1 << [10, 11, 13, 16, 17, 18, 19, 20, 21, 22, 31][picks.below(11)]
                }
            }
            Some(())
        },
    ),
    fault(
        "the task priority reaches the processor's local APIC",
        "controls",
        |whole, picks| {
            let vcpu = picks.which(&mut whole.vcpus, |vcpu| vcpu.carrier != "direct")?;
            let shadow = if vcpu.carrier == "software" {
                1 << 19
            } else {
                1 << 21
            };
            vcpu.primary &= !shadow;
            Some(())
        },
    ),
    fault(
        "no x2APIC mode is virtualized, or one where there is no page",
        "controls",
        |whole, picks| {
            vcpu(whole, picks)?.secondary ^= 1 << 4;
            Some(())
        },
    ),
    fault(
        "another VM's nested tables",
        "translations",
        |whole, picks| {
            let (first, last) = (
                whole.vms.first()?.nested_root,
                whole.vms.last()?.nested_root,
            );
            let vcpu = vcpu(whole, picks)?;
            vcpu.eptp = if vcpu.vm == 0 { last } else { first } | 0x1e;
            Some(())
        },
    ),
    fault(
        "tables that are not cached, of another depth, or of another kind",
        "translations",
        |whole, picks| {
            vcpu(whole, picks)?.eptp ^= [6, 1 << 3, 1 << 5, 1 << 6, 1 << 7][picks.below(5)];
            Some(())
        },
    ),
    fault("VPID 0", "translations", |whole, picks| {
        vcpu(whole, picks)?.vpid = 0;
        Some(())
    }),
    fault("another's VPID", "translations", |whole, picks| {
        let first = whole.vcpus.first()?.vpid;
        picks
            .which(&mut whole.vcpus, |vcpu| vcpu.vpid != first)?
            .vpid = first;
        Some(())
    }),
    fault(
        "an exception that does not exit",
        "intercepts",
        |whole, picks| {
            vcpu(whole, picks)?.exception_bitmap &= !(1 << [1, 17, 18][picks.below(3)]);
            Some(())
        },
    ),
    fault(
        "a bit of CR0 that is not a guest's",
        "intercepts",
        |whole, picks| {
            vcpu(whole, picks)?.cr0_mask &= !(1 << [29, 30, 6, 17, 32][picks.below(5)]);
            Some(())
        },
    ),
    fault(
        "a bit of CR4 that is not a guest's",
        "intercepts",
        |whole, picks| {
            vcpu(whole, picks)?.cr4_mask &=
                !(1 << [6, 13, 14, 18, 22, 23, 24, 25, 12, 40][picks.below(10)]);
            Some(())
        },
    ),
    fault("an MSR in a list", "intercepts", |whole, picks| {
        let list = picks.below(3);
        vcpu(whole, picks)?.msr_lists[list].1 = 1;
        Some(())
    }),
    fault("an MSR too many", "msrs", |whole, picks| {
        // IA32_APIC_BASE, IA32_SMBASE, IA32_VMX_BASIC, x2APIC ICR, an MSR of nobody, and what lies beside one that may be.
        let msr = [0x1b, 0x9e, 0x480, 0x830, 0x1fff, 0x47, 0x80c, 0xc000_0085][picks.below(8)];
        grant(vcpu(whole, picks)?, picks, msr);
        Some(())
    }),
    fault("an MSR that may only be read", "msrs", |whole, picks| {
        let msr = [0x10, 0x277, 0xc000_0080][picks.below(3)];
        grant(vcpu(whole, picks)?, picks, msr).write = true;
        Some(())
    }),
    fault(
        "the timer of a core that is not the guest's",
        "msrs",
        |whole, picks| {
            let vcpu = picks.which(&mut whole.vcpus, |vcpu| vcpu.carrier != "direct")?;
            grant(vcpu, picks, 0x6e0);
            Some(())
        },
    ),
    fault("no MSR bitmap", "msrs", |whole, picks| {
        let vcpu = vcpu(whole, picks)?;
        vcpu.msrs = vec![MsrGrant {
            first: 0,
            last: u32::MAX,
            read: true,
            write: true,
        }];
        Some(())
    }),
    fault("a port", "ports", |whole, picks| {
        let port = picks.below(0x1_0000) as u16;
        vcpu(whole, picks)?.ports.push((port, port));
        Some(())
    }),
    fault(
        "a control structure of another",
        "structures",
        |whole, picks| {
            let first = whole.vcpus.first()?.vmcs;
            picks
                .which(&mut whole.vcpus, |vcpu| vcpu.vmcs != first)?
                .vmcs = first;
            Some(())
        },
    ),
    fault(
        "a bitmap, a page or a descriptor that a guest can write",
        "structures",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| matches!(used, Use::Ram { .. }))?;
            let which = picks.below(6);
            let vcpu = vcpu(whole, picks)?;
            let fields = [
                &mut vcpu.msr_bitmap,
                &mut vcpu.io_bitmap_a,
                &mut vcpu.io_bitmap_b,
                &mut vcpu.virtual_apic,
                &mut vcpu.posted_descriptor,
            ];
            match fields.into_iter().nth(which) {
                Some(field) => *field = Some(frame),
                None => vcpu.vmcs = frame,
            }
            Some(())
        },
    ),
    fault("bitmaps of another VM", "structures", |whole, picks| {
        let first = whole.vcpus.first()?.msr_bitmap;
        picks
            .which(&mut whole.vcpus, |vcpu| vcpu.vm != 0)?
            .msr_bitmap = first;
        Some(())
    }),
    fault(
        "a core's local APIC, where others run",
        "apic",
        |whole, picks| {
            picks
                .which(&mut whole.vcpus, |vcpu| vcpu.core == 0)?
                .carrier = "direct".to_owned();
            Some(())
        },
    ),
    fault("a core that is another's", "apic", |whole, picks| {
        let core = whole.vcpus.iter().find(|vcpu| vcpu.core != 0)?.core;
        picks
            .which(&mut whole.vcpus, |vcpu| vcpu.core != core)?
            .core = core;
        Some(())
    }),
    fault(
        "another time than that of the core whose timer it has",
        "apic",
        |whole, picks| {
            picks
                .which(&mut whole.vcpus, |vcpu| vcpu.carrier == "direct")?
                .tsc_offset = 1;
            Some(())
        },
    ),
    fault(
        "an exit that goes on in a guest's memory",
        "host-state",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| matches!(used, Use::Ram { .. }))?;
            vcpu(whole, picks)?.host.rip = WINDOW + frame;
            Some(())
        },
    ),
    fault(
        "an exit on a stack, or by tables, that a guest can write",
        "host-state",
        |whole, picks| {
            let frame = frame_of(whole, picks, |used| matches!(used, Use::Ram { .. }))?;
            let which = picks.below(5);
            let host = &mut vcpu(whole, picks)?.host;
            let fields = [
                &mut host.rsp,
                &mut host.idtr,
                &mut host.gdtr,
                &mut host.tr_base,
                &mut host.gs_base,
            ];
            *fields.into_iter().nth(which)? = WINDOW + frame + 512;
            Some(())
        },
    ),
    fault(
        "an exit by other control registers",
        "host-state",
        |whole, picks| {
            let which = picks.below(5);
            let host = &mut vcpu(whole, picks)?.host;
            let fields = [
                &mut host.cr0,
                &mut host.cr3,
                &mut host.cr4,
                &mut host.efer,
                &mut host.pat,
            ];
            *fields.into_iter().nth(which)? ^= 1 << 16;
            Some(())
        },
    ),
    fault("a vCPU that was not told of", "survey", |whole, picks| {
        let which = picks.below(whole.vcpus.len());
        whole.vcpus.remove(which);
        Some(())
    }),
];

fn vcpu<'a>(whole: &'a mut Whole, picks: &mut Picks) -> Option<&'a mut VcpuSurvey> {
    picks.of(&mut whole.vcpus)
}

fn grant<'a>(vcpu: &'a mut VcpuSurvey, picks: &mut Picks, msr: u32) -> &'a mut MsrGrant {
    let read = picks.below(2) == 0;
    vcpu.msrs.push(MsrGrant {
        first: msr,
        last: msr,
        read,
        write: !read,
    });
    vcpu.msrs.last_mut().unwrap()
}
