//! What a report shows of code.

use super::fake::{Ram, long, protected};
use crate::listing;
use seam::GuestMem;
use spec::Gpa;
use spec::cpu::Segment;
use spec::pte::Pte;
use spec::state::CpuState;
use std::string::{String, ToString};
use std::vec::Vec;

fn lines(ram: &Ram, cpu: &CpuState, count: usize) -> Vec<String> {
    listing(ram, cpu, count)
        .map(|line| line.to_string())
        .collect()
}

#[test]
fn instructions_are_shown_with_address_and_bytes() {
    let ram = Ram::default();
    let root = ram.table();
    ram.map(root, 4, 0x7000_0000, 0x9000, Pte::PRESENT);
    ram.pages.borrow_mut().add(0x9000, 1);
    let code = [0x0f, 0x30, 0x48, 0x89, 0x07, 0xf4];
    ram.write_from(Gpa(0x9000), &code).unwrap();
    let mut cpu = long(root);
    cpu.rip = 0x7000_0000;
    assert_eq!(
        lines(&ram, &cpu, 3),
        [
            "0x70000000: 0f 30 = wrmsr",
            "0x70000002: 48 89 07 = mov [rdi],rax",
            "0x70000005: f4 = hlt"
        ]
    );
    cpu.segments[CpuState::CS].rights &= !Segment::LONG;
    cpu.segments[CpuState::CS].rights |= Segment::DEFAULT_32;
    assert_eq!(lines(&ram, &cpu, 2)[1], "0x70000002: 48 = dec eax");
}

#[test]
fn a_listing_ends_where_memory_does() {
    let ram = Ram::default();
    ram.pages.borrow_mut().add(0x1000, 1);
    ram.write_from(Gpa(0x1ffe), &[0x90, 0xf4]).unwrap();
    let mut cpu = protected();
    cpu.rip = 0x1ffe;
    assert_eq!(
        lines(&ram, &cpu, 5),
        ["0x1ffe: 90 = nop", "0x1fff: f4 = hlt"]
    );
    cpu.rip = 0x8000;
    assert_eq!(lines(&ram, &cpu, 5), [""; 0]);
}
