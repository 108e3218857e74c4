//! What an ELF64 guest starts with: the loader's promises.
#![no_std]
#![no_main]

use guests::bytes::{is, number, sum};
use guests::start::{zero_page, zero_page_address};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, msr, same};
use spec::cpu::{Cr0, Cr4, Efer, Rflags};
use spec::linux::SetupHeader;

guest!(
    it_runs_in_64_bit_mode_with_paging,
    flags_and_debug_registers_are_as_after_reset,
    the_zero_page_has_its_marks,
    the_memory_map_is_the_platforms,
    the_rsdp_is_where_it_says,
    every_acpi_table_adds_up,
    memory_that_was_not_loaded_is_zero,
);

fn it_runs_in_64_bit_mode_with_paging() -> Verdict {
    let cr0 = Cr0::PE | Cr0::PG | Cr0::ET | Cr0::NE;
    same!(cpu::cr0(), cr0.bits());
    same!(cpu::cr4(), Cr4::PAE.bits());
    same!(msr::read(spec::msr::EFER)?, (Efer::LME | Efer::LMA).bits());
    same!(cpu::cr8(), 0);
    Ok(())
}

fn flags_and_debug_registers_are_as_after_reset() -> Verdict {
    let arithmetic = Rflags::CF | Rflags::PF | Rflags::AF | Rflags::ZF | Rflags::SF | Rflags::OF;
    same!(cpu::rflags() & !arithmetic.bits(), Rflags::FIXED.bits());
    same!(cpu::dr6(), 0xffff_0ff0);
    same!(cpu::dr7(), 0x400);
    Ok(())
}

fn the_zero_page_has_its_marks() -> Verdict {
    let page = zero_page();
    let (header, flag, loader) = (page.hdr.header, page.hdr.boot_flag, page.hdr.type_of_loader);
    same!(header, SetupHeader::MAGIC);
    same!(flag, SetupHeader::BOOT_FLAG);
    same!(loader, SetupHeader::LOADER_UNDEFINED);
    claim!(
        zero_page_address().is_multiple_of(4096),
        "{:#x}",
        zero_page_address()
    );
    Ok(())
}

fn the_memory_map_is_the_platforms() -> Verdict {
    let page = zero_page();
    let expected = [
        (0, 0xa_0000, 1),
        (0xe_0000, 0x2_0000, 2),
        (0x10_0000, (16 << 20) - 0x10_0000, 1),
    ];
    same!(usize::from(page.e820_entries), expected.len());
    let table = page.e820_table;
    for (entry, expected) in table.iter().zip(expected) {
        same!((entry.addr, entry.size, entry.kind), expected);
    }
    Ok(())
}

fn the_rsdp_is_where_it_says() -> Verdict {
    let rsdp = zero_page().acpi_rsdp_addr;
    claim!(
        (0xe_0000..0x10_0000).contains(&rsdp) && rsdp.is_multiple_of(16),
        "{rsdp:#x}"
    );
    claim!(is(rsdp, b"RSD PTR "), "no signature");
    same!((sum(rsdp, 20), sum(rsdp, 36)), (0, 0), "checksums");
    same!(number(rsdp + 15, 1), 2, "revision");
    Ok(())
}

fn every_acpi_table_adds_up() -> Verdict {
    let xsdt = number(zero_page().acpi_rsdp_addr + 24, 8);
    claim!(is(xsdt, b"XSDT"), "no XSDT");
    let len = number(xsdt + 4, 4);
    same!(sum(xsdt, len as usize), 0, "XSDT");
    let (mut fadt, mut madt) = (None, None);
    for entry in 0..(len - 36) / 8 {
        let table = number(xsdt + 36 + 8 * entry, 8);
        same!(
            sum(table, number(table + 4, 4) as usize),
            0,
            "table {table:#x}"
        );
        if is(table, b"FACP") {
            fadt = Some(table);
        } else if is(table, b"APIC") {
            madt = Some(table);
        }
    }
    claim!(madt.is_some(), "no MADT");
    let Some(fadt) = fadt else {
        claim!(false, "no FADT");
        return Ok(());
    };
    // ACPI 6.5, table 5.9: X_DSDT, RESET_REG, RESET_VALUE, SLEEP_CONTROL_REG.
    let dsdt = number(fadt + 140, 8);
    claim!(is(dsdt, b"DSDT"), "no DSDT");
    same!(sum(dsdt, number(dsdt + 4, 4) as usize), 0, "DSDT");
    same!(number(fadt + 116 + 4, 8), 0x602);
    same!(number(fadt + 128, 1), 0x42);
    same!(number(fadt + 244 + 4, 8), 0x600);
    Ok(())
}

fn memory_that_was_not_loaded_is_zero() -> Verdict {
    // From 2 MiB on nothing is: what stands there was another's.
    for at in (0x20_0000..0x100_0000u64).step_by(64) {
        same!(number(at, 8), 0, "{at:#x}");
    }
    Ok(())
}
