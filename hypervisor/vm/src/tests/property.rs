//! Any exits, with any registers, over a small VM.

use super::fake::{Machine, flat};
use exits::*;
use proptest::array::uniform16;
use proptest::prelude::*;
use seam::GuestMem;
use spec::cpu::{Cr4, Efer, Gpr};
use spec::state::{Activity, ControlState, CpuState};
use spec::{Gpa, Gva, Msr, Port, Ticks, Vector, Width};
use std::sync::atomic::Ordering;
use std::vec;
use std::vec::Vec;

/// Accesses to memory in one step: 64 elements of a string, each with two operands in two pages, each by a walk of four
/// levels with its flags; and the fetch. Without it a step could last as long as the guest likes.
const MOST_ACCESSES: usize = 64 * 2 * 2 * 12;

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..0x1_1000u64,
        0xfee0_0000..0xfee0_1000u64,
        (0..256u64).prop_map(|r| 0xfee0_0000 + 16 * r),
        0xfec0_0000..0xfec0_0050u64,
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
    ]
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![
        Just(Width::B1),
        Just(Width::B2),
        Just(Width::B4),
        Just(Width::B8)
    ]
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![
        0x3f6..0x401u16,
        0x6e..0x74u16,
        0x5fd..0x604u16,
        0x60e..0x622u16,
        0xcf6..0xd02u16,
        any::<u16>()
    ]
    .prop_map(Port)
}

fn msr() -> impl Strategy<Value = Msr> {
    prop_oneof![
        0x800..0x900u32,
        Just(0x830),
        Just(0x832),
        Just(0x838),
        Just(0x6e0),
        Just(0x10),
        Just(0x3b),
        Just(0x1b),
        Just(0x277),
        any::<u32>()
    ]
    .prop_map(Msr)
}

/// Real, protected, and long mode, with paging or without, in any mix that flags allow.
fn cpu() -> impl Strategy<Value = CpuState> {
    let bits = (any::<u32>(), any::<u32>(), any::<u16>(), any::<u32>());
    (0..4u8, bits, any::<[bool; 4]>(), address(), address()).prop_map(
        |(cpl, (cr0, cr4, efer, rflags), [plain, paging, long, wild], cr3, rip)| {
            let mut cpu = flat(cpl);
            if plain {
                return cpu;
            }
            cpu.rflags = u64::from(rflags);
            cpu.cr3 = cr3;
            if paging {
                cpu.cr0 |= 1 << 31;
                cpu.cr4 = u64::from(cr4);
            }
            if long {
                cpu.efer = Efer::LMA.bits() | u64::from(efer);
                cpu.cr4 |= Cr4::PAE.bits();
                cpu.segments[CpuState::CS].rights |= 1 << 13;
            }
            if wild {
                cpu.cr0 = u64::from(cr0);
                cpu.rip = rip;
                cpu.segments[3].limit = cr4;
                cpu.segments[0].base = cr3;
            }
            if cpu.cr0 & 1 << 31 == 0 {
                // The processor keeps it so.
                cpu.efer &= !Efer::LMA.bits();
            }
            cpu
        },
    )
}

fn control() -> impl Strategy<Value = ControlWrite> {
    let old = (
        any::<u32>(),
        address(),
        any::<u32>(),
        any::<u16>(),
        any::<bool>(),
    )
        .prop_map(|(cr0, cr3, cr4, efer, cs_long)| ControlState {
            cr0: cr0.into(),
            cr3,
            cr4: cr4.into(),
            efer: efer.into(),
            cs_long,
            bars_ia32e: false,
        });
    let value = prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>()];
    (old, value, any::<bool>()).prop_map(|(old, value, near)| ControlWrite {
        value: if near {
            old.cr0 ^ value & 0xe000_0000
        } else {
            value
        },
        old,
    })
}

fn access(wide: bool) -> impl Strategy<Value = PortAccess> {
    (port(), width(), any::<bool>()).prop_map(move |(port, width, input)| PortAccess {
        port,
        width: if wide || width != Width::B8 {
            width
        } else {
            Width::B4
        },
        direction: if input { Direction::In } else { Direction::Out },
    })
}

fn exit() -> impl Strategy<Value = Exit> {
    let gpa_fault = (address(), 0..3u8, any::<bool>(), cpu()).prop_map(|(gpa, kind, own, cpu)| {
        Exit::GpaFault(GpaFault {
            gpa: Gpa(gpa),
            access: [Access::Read, Access::Write, Access::Fetch][usize::from(kind)],
            linear: (!own).then_some(Gva(gpa)),
            present: false,
            cpu,
        })
    });
    let string = (access(false), any::<bool>(), 0..3usize, any::<u8>(), cpu()).prop_map(
        |(access, repeated, size, segment, cpu)| {
            Exit::PortString(StringAccess {
                access,
                repeated,
                address_size: [Width::B2, Width::B4, Width::B8][size],
                segment,
                cpu,
            })
        },
    );
    let exception = (any::<u8>(), any::<Option<u32>>(), any::<u64>()).prop_map(
        |(vector, error_code, qualification)| Exit::Exception {
            vector: Vector(vector),
            error_code,
            qualification,
        },
    );
    let bare = prop::sample::select(vec![
        Exit::Cpuid,
        Exit::Hlt,
        Exit::Xsetbv,
        Exit::Hypercall,
        Exit::CacheFlush,
        Exit::Undefined,
        Exit::Forbidden,
        Exit::InterruptWindow,
        Exit::NmiWindow,
        Exit::TimerExpired,
        Exit::HostNmi,
        Exit::TripleFault,
        Exit::TaskSwitch,
        Exit::EntryFailed(33),
        Exit::Unknown(99),
        Exit::HostInterrupt(Vector(0x20)),
    ]);
    prop_oneof![
        4 => gpa_fault,
        2 => string,
        4 => msr().prop_map(Exit::MsrWrite),
        1 => msr().prop_map(Exit::MsrRead),
        2 => access(true).prop_map(Exit::Port),
        1 => control().prop_map(Exit::Cr0Write),
        1 => control().prop_map(Exit::Cr4Write),
        1 => control().prop_map(Exit::EferWrite),
        1 => (0..16u8).prop_map(|n| Exit::Cr8Read(Gpr::from_number(n))),
        1 => (0..20u64).prop_map(Exit::Cr8Write),
        1 => exception,
        3 => bare,
    ]
}

/// Registers small and large, so that counts, commands and addresses all come up.
fn gprs() -> impl Strategy<Value = [u64; 16]> {
    uniform16(prop_oneof![
        address(),
        0..4u64,
        (0..0x10_0000u64),
        any::<u64>()
    ])
}

/// Instructions that touch memory, with operands from the registers, and noise.
fn code() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        vec![0x8b, 0x00],
        vec![0x89, 0x08],
        vec![0x88, 0x0b],
        vec![0xf3, 0xa4],
        vec![0xf3, 0xab],
        vec![0xf3, 0xa6],
        vec![0xf0, 0x0f, 0xb1, 0x0e],
        vec![0xff, 0x30],
        vec![0x8f, 0x00],
        vec![0x0f, 0xab, 0x08],
        vec![0x0f, 0x28, 0x00],
        vec![0x87, 0x07],
    ]);
    prop_oneof![2 => known, 1 => prop::collection::vec(any::<u8>(), 1..16)]
}

/// User mode may be the one that made this exit, and a stop that follows ends a VM that its kernel did not end.
fn is_from_user(exit: &Exit) -> bool {
    match exit {
        // What the processor does for itself it does by the kernel's tables.
        Exit::GpaFault(f) => f.cpu.cpl() == 3 && f.linear.is_some(),
        Exit::PortString(s) => s.cpu.cpl() == 3,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_exits_are_answered_in_bounded_time_and_keep_the_rules(
        exits in prop::collection::vec((exit(), gprs(), code(), 0..3usize, 0..5_000u64), 1..60),
        tables in prop::collection::vec((0..0x1_0000u64, any::<u64>(), any::<bool>()), 0..40),
        x2apic in any::<bool>(),
    ) {
        let mut m = if x2apic { Machine::x2apic(3) } else { Machine::new(3) };
        for (at, entry, near) in tables {
            let entry = if near { entry & 0xffff | 1 } else { entry };
            m.vm.memory.set_u64(at & 0xfff8, entry);
        }
        for (exit, gprs, code, i, later) in exits {
            m.vm.memory.write_from(Gpa(super::fake::CODE), &code).unwrap();
            m.now = Ticks(m.now.0 + later);
            m.gprs.0 = gprs;
            let before = m.gprs;
            m.vm.memory.touched.store(0, Ordering::Relaxed);
            let answer = m.step_on(i, exit);
            let touched = m.vm.memory.touched.load(Ordering::Relaxed);
            prop_assert!(touched <= MOST_ACCESSES, "{touched} accesses");
            prop_assert!(m.vcpus[i].activity == Activity::Active, "only the owner says that a vCPU sleeps");
            prop_assert_eq!(answer == Answer::Halt, exit == Exit::Hlt);
            prop_assert_eq!(m.gprs.get(Gpr::Rsp), before.get(Gpr::Rsp), "RSP's slot is nobody's");
            match answer {
                Answer::Inject(_) | Answer::Write(_) => prop_assert_eq!(m.gprs, before),
                Answer::Stop(Stop::Bug(_)) => {
                    prop_assert!(matches!(exit, Exit::EntryFailed(_) | Exit::Unknown(_)));
                }
                Answer::Stop(Stop::Unsupported(_)) if is_from_user(&exit) => {
                    // An INIT by way of an APIC page that the kernel has mapped for it is the kernel's doing.
                    prop_assert_eq!(m.vcpus[i].unemulated, None);
                }
                _ => {}
            }
            m.vcpus[i].unemulated = None;
            for i in 0..3 {
                let wants = m.wants(i);
                prop_assert!(m.vcpus[i].deadline().is_none_or(|d| d > m.now), "a deadline was left");
                prop_assert!(m.vm.mailboxes[i].is_empty());
                if let Some(vector) = wants.interrupt {
                    prop_assert!(vector.0 >= 16);
                    m.vcpus[i].taken(vector);
                    prop_assert_ne!(m.wants(i).interrupt, Some(vector), "one delivery a request");
                }
                if wants.nmi {
                    m.vcpus[i].nmi_taken();
                    prop_assert!(!m.wants(i).nmi);
                }
            }
        }
    }
}
