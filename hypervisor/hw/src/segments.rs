//! GDT, TSS and IDT of one core.
// UNSAFETY: LGDT, LTR, LIDT and far returns that load the new selectors.
#![allow(unsafe_code)]

use crate::trap;
use alloc::boxed::Box;
use spec::cpu::vector;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Tops of the stacks for the exceptions that may strike while the current stack cannot be trusted.
#[derive(Clone, Copy, Debug)]
pub struct IstStacks {
    /// NMI
    pub nmi: u64,
    /// Double fault: where a stack overflow ends up
    pub double_fault: u64,
    /// Machine check
    pub machine_check: u64,
}

/// What the VMCS host-state area needs to know of the segments.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// Code selector
    pub cs: u16,
    /// Data selector, in SS, DS and ES
    pub ss: u16,
    /// Task register
    pub tr: u16,
    /// Linear address of the TSS
    pub tr_base: u64,
    /// Linear address of the GDT
    pub gdtr_base: u64,
    /// Linear address of the IDT
    pub idtr_base: u64,
}

/// Makes and loads this core's tables. They are never freed.
///
/// # Safety
/// Called once per core, interrupts off; the stacks are mapped, large enough and nobody else's.
pub unsafe fn install(stacks: IstStacks) -> Segments {
    let mut tss = TaskStateSegment::new();
    let [none, ..] = tss.interrupt_stack_table;
    let [nmi, double_fault, machine_check] =
        [stacks.nmi, stacks.double_fault, stacks.machine_check].map(VirtAddr::new);
    tss.interrupt_stack_table = [nmi, double_fault, machine_check, none, none, none, none];
    let tss: &'static TaskStateSegment = Box::leak(Box::new(tss));

    let mut gdt = GlobalDescriptorTable::new();
    let cs = gdt.append(Descriptor::kernel_code_segment());
    let ss = gdt.append(Descriptor::kernel_data_segment());
    let tr = gdt.append(Descriptor::tss_segment(tss));
    let gdt: &'static GlobalDescriptorTable = Box::leak(Box::new(gdt));

    let mut idt = Box::new(Idt([Gate::default(); 256]));
    for (v, gate) in (0..=u8::MAX).zip(idt.0.iter_mut()) {
        let ist = match spec::Vector(v) {
            vector::NMI => 1,
            vector::DF => 2,
            vector::MC => 3,
            _ => 0,
        };
        *gate = Gate::interrupt(trap::stub_address(v), cs.0, ist);
    }
    let idt: &'static Idt = Box::leak(idt);

    // SAFETY: the tables are leaked, so they live for ever; the selectors are those of the entries just made.
    unsafe {
        gdt.load_unsafe();
        CS::set_reg(cs);
        for null_or_data in [SS::set_reg, DS::set_reg, ES::set_reg] {
            null_or_data(ss);
        }
        FS::set_reg(SegmentSelector::NULL);
        GS::set_reg(SegmentSelector::NULL);
        load_tss(tr);
        x86_64::instructions::tables::lidt(&DescriptorTablePointer {
            limit: (size_of::<Idt>() - 1) as u16,
            base: VirtAddr::from_ptr(idt),
        });
    }
    Segments {
        cs: cs.0,
        ss: ss.0,
        tr: tr.0,
        tr_base: core::ptr::from_ref(tss) as u64,
        gdtr_base: core::ptr::from_ref(gdt.entries()).cast::<u8>() as u64,
        idtr_base: core::ptr::from_ref(idt) as u64,
    }
}

/// A 64-bit interrupt gate (SDM vol. 3, "64-Bit Mode IDT").
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    ist: u8,
    kind: u8,
    offset_mid: u16,
    offset_high: u32,
    reserved: u32,
}

#[repr(C, align(16))]
struct Idt([Gate; 256]);

const _: () = assert!(size_of::<Gate>() == 16 && size_of::<Idt>() == 4096);

impl Gate {
    /// Present, DPL 0, type 14: interrupt gate, which clears IF.
    const KIND: u8 = 0x8e;

    fn interrupt(handler: u64, selector: u16, ist: u8) -> Self {
        Self {
            offset_low: handler as u16,
            selector,
            ist,
            kind: Self::KIND,
            offset_mid: (handler >> 16) as u16,
            offset_high: (handler >> 32) as u32,
            reserved: 0,
        }
    }
}
