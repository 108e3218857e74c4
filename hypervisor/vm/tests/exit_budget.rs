//! What an exit may cost: no allocation at all, and no lock on the ways that a guest goes most.

#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the unit tests, where both are usual"
)]
#[path = "../src/tests/fake.rs"]
mod fake;

use allocation_counter::{AllocationInfo, measure};
use exits::*;
use fake::{Machine, fault, flat};
use spec::cpu::Gpr;
use spec::state::ControlState;
use spec::{Msr, Port, Vector, Width, msr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// One of each kind; the compiler says so when a kind is new.
fn every_exit() -> Vec<Exit> {
    let access = |direction| PortAccess {
        port: Port(0x3f8),
        width: Width::B4,
        direction,
    };
    let string = |direction| StringAccess {
        access: access(direction),
        repeated: true,
        address_size: Width::B4,
        segment: 3,
        cpu: flat(0),
    };
    let control = ControlWrite {
        value: 0x8000_0031,
        old: ControlState {
            cr0: 0x31,
            cr3: 0x2000,
            cr4: 0x20,
            ..ControlState::default()
        },
    };
    let all = vec![
        Exit::Cpuid,
        Exit::Port(access(Direction::In)),
        Exit::Port(access(Direction::Out)),
        Exit::PortString(string(Direction::In)),
        Exit::PortString(string(Direction::Out)),
        fault(&flat(0), 0xfee0_0030, Access::Read),
        fault(&flat(0), 0xfec0_0010, Access::Write),
        fault(&flat(0), 0xd000_0000, Access::Fetch),
        Exit::MsrRead(msr::TSC_ADJUST),
        Exit::MsrRead(Msr(0x802)),
        Exit::MsrRead(Msr(0)),
        Exit::MsrWrite(msr::TSC_DEADLINE),
        Exit::MsrWrite(Msr(0x830)),
        Exit::MsrWrite(msr::TSC),
        Exit::MsrWrite(msr::APIC_BASE),
        Exit::Cr0Write(control),
        Exit::Cr4Write(control),
        Exit::EferWrite(control),
        Exit::Cr8Read(Gpr::Rax),
        Exit::Cr8Write(3),
        Exit::Xsetbv,
        Exit::Hypercall,
        Exit::Hlt,
        Exit::CacheFlush,
        Exit::Undefined,
        Exit::Forbidden,
        Exit::Exception {
            vector: Vector(1),
            error_code: None,
            qualification: 1,
        },
        Exit::InterruptWindow,
        Exit::NmiWindow,
        Exit::TimerExpired,
        Exit::HostInterrupt(Vector(0x20)),
        Exit::HostNmi,
        Exit::VirtualizedEoi(Vector(0x51)),
        Exit::ApicWrite(0x3f),
        Exit::TripleFault,
        Exit::TaskSwitch,
        Exit::EntryFailed(33),
        Exit::Unknown(99),
    ];
    for exit in &all {
        match exit {
            Exit::Cpuid | Exit::Port(_) | Exit::PortString(_) | Exit::GpaFault(_) => {}
            Exit::MsrRead(_) | Exit::MsrWrite(_) | Exit::Cr0Write(_) | Exit::Cr4Write(_) => {}
            Exit::EferWrite(_) | Exit::Cr8Read(_) | Exit::Cr8Write(_) | Exit::Xsetbv => {}
            Exit::Hypercall | Exit::Hlt | Exit::CacheFlush | Exit::Undefined => {}
            Exit::Forbidden | Exit::Exception { .. } | Exit::InterruptWindow => {}
            Exit::NmiWindow | Exit::TimerExpired | Exit::HostInterrupt(_) | Exit::HostNmi => {}
            Exit::VirtualizedEoi(_) | Exit::ApicWrite(_) => {}
            Exit::TripleFault | Exit::TaskSwitch | Exit::EntryFailed(_) | Exit::Unknown(_) => {}
        }
    }
    all
}

fn allocations(f: impl FnOnce()) -> u64 {
    let AllocationInfo { count_total, .. } = measure(f);
    count_total
}

#[test]
fn no_exit_allocates() {
    // As at the start of the hypervisor: the decoder makes its tables once.
    emul::prepare();
    // The counter counts.
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
    for mut m in [Machine::new(2), Machine::x2apic(2)] {
        for exit in every_exit() {
            for value in [0, 0xfee0_0d00, 3 << 18 | 0x51, u64::MAX] {
                m.gprs.0 = [value; 16];
                let count = allocations(|| {
                    let _ = m.step(exit);
                    let _ = m.wants(0);
                    let _ = m.wants(1);
                });
                assert_eq!(count, 0, "{exit:?}");
            }
        }
    }
}

/// With every lock of the VM held, an exit that takes one would wait for ever.
#[test]
fn the_ways_that_a_guest_goes_most_take_no_lock() {
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let mut m = Machine::x2apic(2);
        let vm = &m.vm;
        let (vcpus, gprs) = (&mut m.vcpus, &mut m.gprs);
        let chips = &vm.chips;
        let _serial = chips.serial.lock();
        let _ioapic = chips.ioapic.lock();
        let _cmos = chips.cmos.lock();
        let _power = chips.power.lock();
        let _pci = chips.pci.lock();
        let others = 3 << 18 | 0x51;
        for (exit, value) in [
            (Exit::Cpuid, 1),
            (Exit::MsrWrite(Msr(0x832)), 1 << 18 | 0x40),
            (Exit::MsrWrite(msr::TSC_DEADLINE), 2_000_000),
            (Exit::MsrWrite(msr::TSC_DEADLINE), 1),
            (Exit::MsrRead(msr::TSC_DEADLINE), 0),
            (Exit::MsrWrite(Msr(0x830)), others),
            (Exit::MsrWrite(Msr(0x830)), 1 << 32 | 0x51),
            (Exit::MsrWrite(Msr(0x83f)), 0x52),
            (Exit::MsrWrite(Msr(0x80b)), 0),
            (Exit::MsrRead(Msr(0x808)), 0),
            (Exit::MsrRead(msr::TSC_ADJUST), 0),
            (Exit::Cr8Write(0), 0),
            (Exit::Hlt, 0),
            (Exit::InterruptWindow, 0),
            (Exit::TimerExpired, 0),
            (Exit::HostInterrupt(Vector(0x20)), 0),
        ] {
            gprs.set_edx_eax(value);
            let answer = vm::step(vm, &mut vcpus[0], gprs, &exit, m.now);
            assert!(
                matches!(answer, Answer::Advance | Answer::Halt | Answer::Retry),
                "{exit:?}: {answer:?}"
            );
            for vcpu in &mut *vcpus {
                let wants = vcpu.wants(vm.mailbox(vcpu), m.now);
                if let Some(vector) = wants.interrupt {
                    vcpu.taken(vector);
                }
            }
        }
        done.send(()).unwrap();
    });
    finished
        .recv_timeout(Duration::from_secs(20))
        .expect("an exit waits for a lock");
}
