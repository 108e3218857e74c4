//! Any survey.

use super::text;
use crate::certificate::*;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn range() -> impl Strategy<Value = Range> {
    any::<(u64, u64)>().prop_map(|(start, len)| Range { start, len })
}

fn mappings() -> impl Strategy<Value = Vec<Mapping>> {
    let cache = prop::sample::select(vec![
        Cache::Uncacheable,
        Cache::WriteCombining,
        Cache::WriteThrough,
        Cache::WriteProtected,
        Cache::WriteBack,
    ]);
    let mapping = (any::<[u64; 3]>(), any::<[bool; 3]>(), cache).prop_map(
        |([at, frame, len], [read, write, execute], cache)| Mapping {
            at,
            frame,
            len,
            read,
            write,
            execute,
            cache,
        },
    );
    prop::collection::vec(mapping, 0..5)
}

fn used() -> impl Strategy<Value = Use> {
    any::<u16>().prop_flat_map(|vm| {
        prop::sample::select(vec![
            Use::Heap,
            Use::LowMemory,
            Use::Ram { vm },
            Use::VirtualApic { vm },
            Use::Lost,
        ])
    })
}

fn host() -> impl Strategy<Value = HostSurvey> {
    let kind = prop_oneof![
        Just(MemoryKind::Usable),
        Just(MemoryKind::Loader),
        any::<u32>().prop_map(MemoryKind::Firmware)
    ];
    let memory = (range(), kind).prop_map(|(range, kind)| MemoryRange { range, kind });
    let owned = (range(), used()).prop_map(|(range, used)| Owned { range, used });
    let device = (text(), range()).prop_map(|(name, range)| Device { name, range });
    let core = any::<[u64; 8]>().prop_map(|[n, cr0, cr3, cr4, efer, pat, vmxon, _]| CoreSurvey {
        number: n as u32,
        apic_id: (n >> 32) as u32,
        cr0,
        cr3,
        cr4,
        efer,
        pat,
        vmxon,
    });
    (
        prop::collection::vec(memory, 0..5),
        prop::collection::vec(owned, 0..5),
        [mappings(), mappings()],
        prop::collection::vec(range(), 0..5),
        prop::collection::vec(device, 0..3),
        prop::collection::vec(core, 0..3),
        any::<(u64, u64, u16)>(),
    )
        .prop_map(
            |(
                memory,
                owned,
                [host, firmware],
                host_tables,
                devices,
                cores,
                (host_root, window, vms),
            )| {
                HostSurvey {
                    memory,
                    owned,
                    host,
                    host_root,
                    host_tables,
                    firmware,
                    window,
                    devices,
                    cores,
                    vms,
                }
            },
        )
}

fn vm() -> impl Strategy<Value = VmSurvey> {
    let tables = prop::collection::vec(range(), 0..5);
    (any::<(u16, u64, u32)>(), text(), mappings(), tables).prop_map(
        |((vm, nested_root, vcpus), name, nested, nested_tables)| VmSurvey {
            vm,
            name,
            nested_root,
            nested,
            nested_tables,
            vcpus,
        },
    )
}

fn vcpu() -> impl Strategy<Value = VcpuSurvey> {
    let grant = any::<(u32, u32, bool, bool)>().prop_map(|(first, last, read, write)| MsrGrant {
        first,
        last,
        read,
        write,
    });
    let host = any::<[u64; 12]>().prop_map(
        |[
            cr0,
            cr3,
            cr4,
            rip,
            rsp,
            idtr,
            gdtr,
            tr_base,
            fs_base,
            gs_base,
            efer,
            pat,
        ]| HostState {
            cr0,
            cr3,
            cr4,
            rip,
            rsp,
            idtr,
            gdtr,
            tr_base,
            fs_base,
            gs_base,
            efer,
            pat,
        },
    );
    (
        any::<[u32; 9]>(),
        text(),
        any::<[u64; 5]>(),
        any::<[Option<u64>; 6]>(),
        prop::collection::vec(any::<(u64, u32)>(), 0..4),
        host,
        prop::collection::vec(grant, 0..5),
        prop::collection::vec(any::<(u16, u16)>(), 0..5),
    )
        .prop_map(
            |(words, carrier, wide, pages, msr_lists, host, msrs, ports)| VcpuSurvey {
                vm: words[0] as u16,
                vcpu: words[1],
                core: words[2],
                carrier,
                vmcs: wide[0],
                pin: words[3],
                primary: words[4],
                secondary: words[5],
                exit: words[6],
                entry: words[7],
                eptp: wide[1],
                vpid: (words[0] >> 16) as u16,
                exception_bitmap: words[8],
                cr0_mask: wide[2],
                cr4_mask: wide[3],
                tsc_offset: wide[4],
                msr_bitmap: pages[0],
                io_bitmap_a: pages[1],
                io_bitmap_b: pages[2],
                virtual_apic: pages[3],
                apic_access: pages[4],
                posted_descriptor: pages[5],
                posted_vector: pages[5].map(|at| at as u16),
                msr_lists,
                host,
                msrs,
                ports,
            },
        )
}

pub(super) fn survey() -> impl Strategy<Value = Survey> {
    prop_oneof![
        host().prop_map(Survey::Host),
        vm().prop_map(Survey::Vm),
        vcpu().prop_map(Survey::Vcpu),
        any::<(u16, u32, u64)>().prop_map(|(vm, vcpu, vmcs)| Survey::Unstarted { vm, vcpu, vmcs }),
    ]
}
