//! INS and OUTS.

use super::fake::{Chips, Ram, protected};
use crate::{Error, Progress, StringPort, run_string_port};
use spec::cpu::{Gprs, Rflags, vector};
use spec::state::CpuState;
use spec::{Port, Width};

const RAM: u64 = 0x1000;

fn access(input: bool, width: Width) -> StringPort {
    StringPort {
        port: Port(0x3f8),
        width,
        input,
        repeated: true,
        address_size: Width::B4,
        segment: 3,
    }
}

fn ram() -> Ram {
    let ram = Ram::default();
    ram.pages.borrow_mut().add(RAM, 1);
    ram
}

fn gprs(count: u64, index: u64) -> Gprs {
    let mut gprs = Gprs::default();
    (gprs.0[1], gprs.0[6], gprs.0[7]) = (count, index, index);
    gprs
}

fn go(
    cpu: &CpuState,
    gprs: &mut Gprs,
    access: StringPort,
    ram: &Ram,
    port: &mut Chips,
) -> Result<Progress, Error> {
    run_string_port(cpu, gprs, access, ram, &mut Chips::default(), port)
}

#[test]
fn input_fills_memory_both_ways() {
    let (ram, mut port) = (ram(), Chips::default());
    port.port = std::vec![0x1111_aaaa, 0xbbbb, 0xcccc];
    let mut g = gprs(3, RAM + 0x10);
    let three = access(true, Width::B2);
    assert_eq!(
        go(&protected(), &mut g, three, &ram, &mut port),
        Ok(Progress::Finished)
    );
    assert_eq!(
        ram.get(RAM + 0x10, 7),
        [0xaa, 0xaa, 0xbb, 0xbb, 0xcc, 0xcc, 0]
    );
    assert_eq!((g.0[1], g.0[7], g.0[6]), (0, RAM + 0x16, RAM + 0x10));

    let mut cpu = protected();
    cpu.rflags |= Rflags::DF.bits();
    let mut g = gprs(2, RAM + 2);
    port.port = std::vec![1, 2];
    assert_eq!(
        go(&cpu, &mut g, access(true, Width::B1), &ram, &mut port),
        Ok(Progress::Finished)
    );
    assert_eq!(ram.get(RAM, 4), [0, 2, 1, 0]);
    assert_eq!(g.0[7], RAM);
}

#[test]
fn output_comes_from_the_segment_that_the_exit_names() {
    let (ram, mut port) = (ram(), Chips::default());
    ram.set(RAM + 0x20, &[1, 2, 3, 4]);
    let mut cpu = protected();
    cpu.segments[4].base = RAM;
    let mut g = gprs(2, 0x20);
    let fs = StringPort {
        segment: 4,
        ..access(false, Width::B2)
    };
    assert_eq!(
        go(&cpu, &mut g, fs, &ram, &mut port),
        Ok(Progress::Finished)
    );
    assert_eq!(port.port, [0x201, 0x403]);
    assert_eq!((g.0[1], g.0[6]), (0, 0x24));
}

#[test]
fn without_repeat_the_counter_does_not_count() {
    let (ram, mut port) = (ram(), Chips::default());
    let mut g = gprs(0, RAM);
    let once = StringPort {
        repeated: false,
        ..access(false, Width::B4)
    };
    assert_eq!(
        go(&protected(), &mut g, once, &ram, &mut port),
        Ok(Progress::Finished)
    );
    assert_eq!((port.port.len(), g.0[1], g.0[6]), (1, 0, RAM + 4));
    let mut g = gprs(0, RAM);
    let none = access(false, Width::B4);
    assert_eq!(
        go(&protected(), &mut g, none, &ram, &mut port),
        Ok(Progress::Finished)
    );
    assert_eq!((port.port.len(), g.0[6]), (1, RAM));
}

#[test]
fn a_batch_ends_and_a_fault_comes_before_the_port() {
    let (ram, mut port) = (ram(), Chips::default());
    let mut g = gprs(100, RAM);
    let bytes = access(true, Width::B1);
    assert_eq!(
        go(&protected(), &mut g, bytes, &ram, &mut port),
        Ok(Progress::More)
    );
    assert_eq!((g.0[1], g.0[7]), (36, RAM + 64));

    // The limit after two bytes: those two, then the fault, and nothing taken from the port for it.
    let mut cpu = protected();
    cpu.segments[0].limit = (RAM + 1) as u32;
    port.port = std::vec![7, 8, 9];
    let mut g = gprs(3, RAM);
    assert_eq!(go(&cpu, &mut g, bytes, &ram, &mut port), Ok(Progress::More));
    assert_eq!((ram.get(RAM, 2), g.0[1]), (std::vec![7, 8], 1));
    let before = g;
    let fault = go(&cpu, &mut g, bytes, &ram, &mut port);
    assert!(matches!(fault, Err(Error::Inject(fault)) if fault.vector == vector::GP));
    assert_eq!((g, port.port), (before, std::vec![9]));
}

#[test]
fn single_stepping_is_one_element_at_a_time() {
    let (ram, mut port) = (ram(), Chips::default());
    port.port = std::vec![1, 2, 3];
    let mut cpu = protected();
    cpu.rflags |= Rflags::TF.bits();
    let mut g = gprs(2, RAM);
    let bytes = access(true, Width::B1);
    assert_eq!(go(&cpu, &mut g, bytes, &ram, &mut port), Ok(Progress::More));
    assert_eq!((g.0[1], g.0[7]), (1, RAM + 1));
    assert_eq!(
        go(&cpu, &mut g, bytes, &ram, &mut port),
        Ok(Progress::Finished)
    );
    assert_eq!((g.0[1], g.0[7]), (0, RAM + 2));
}
