//! PCI configuration space, by the memory window and by the ports.
#![no_std]
#![no_main]
// UNSAFETY: reads of the window at other widths than four bytes.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::mmio::{read32, write32};
use guests::port::{in8, in16, in32, out8, out32};
use guests::verdict::Verdict;
use guests::{guest, same};
use spec::pci::ECAM_BUS_SIZE;

guest!(
    the_window_holds_one_host_bridge,
    the_window_ends_after_bus_0,
    the_window_takes_bytes_and_words,
    an_access_beyond_a_double_word_reads_ones,
    identity_cannot_be_written,
    the_ports_show_what_the_window_shows,
    the_address_port_takes_double_words_only,
);

const ECAM: u64 = 0xe000_0000;
const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

const HOST_BRIDGE: u32 = 0x0600_0000;

fn select(address: u32) {
    out32(ADDRESS, address);
}

fn the_window_holds_one_host_bridge() -> Verdict {
    for function in 0..256 {
        let at = ECAM + (function << 12);
        let (class, absent) = (read32(at + 8), read32(at) == u32::MAX);
        same!(absent, function != 0, "function {function:#x}");
        same!(class, if absent { u32::MAX } else { HOST_BRIDGE });
    }
    same!(read32(ECAM + 0x100), 0, "extended capabilities");
    Ok(())
}

fn the_window_ends_after_bus_0() -> Verdict {
    same!(read32(ECAM - 4), u32::MAX);
    same!(read32(ECAM + ECAM_BUS_SIZE), u32::MAX);
    Ok(())
}

fn the_window_takes_bytes_and_words() -> Verdict {
    let (byte, word): (u8, u16);
    // SAFETY: no memory of Rust's is there.
    unsafe {
        asm!("mov {}, [{}]", out(reg_byte) byte, in(reg) ECAM + 0xb, options(nostack));
        asm!("mov {:x}, [{}]", out(reg) word, in(reg) ECAM + 9, options(nostack));
    }
    same!(byte, 6, "base class");
    same!(word, 0, "programming interface and sub-class");
    Ok(())
}

fn an_access_beyond_a_double_word_reads_ones() -> Verdict {
    let wide: u64;
    // SAFETY: as above.
    unsafe { asm!("mov {}, [{}]", out(reg) wide, in(reg) ECAM + 8, options(nostack)) };
    same!(wide, u64::MAX);
    same!(read32(ECAM + 9), u32::MAX);
    Ok(())
}

fn identity_cannot_be_written() -> Verdict {
    for register in [0, 4, 8, 0x10, 0x2c, 0x3c, 0x100] {
        let before = read32(ECAM + register);
        write32(ECAM + register, !before);
        same!(read32(ECAM + register), before, "register {register:#x}");
    }
    Ok(())
}

fn the_ports_show_what_the_window_shows() -> Verdict {
    for register in (0..256).step_by(4) {
        select(1 << 31 | register);
        let there = read32(ECAM + u64::from(register));
        same!(in32(DATA), there, "register {register:#x}");
        same!(
            u32::from(in16(DATA + 2)),
            there >> 16,
            "register {register:#x}"
        );
        same!(
            u32::from(in8(DATA + 3)),
            there >> 24,
            "register {register:#x}"
        );
    }
    for (address, what) in [
        (0x0000_0008, "not enabled"),
        (0x8001_0008, "bus 1"),
        (0x8000_0108, "function 1"),
    ] {
        select(address);
        same!(in32(DATA), u32::MAX, "{what}");
    }
    Ok(())
}

fn the_address_port_takes_double_words_only() -> Verdict {
    select(0x8000_0008);
    out8(ADDRESS + 3, 0);
    same!(in32(ADDRESS), 0x8000_0008);
    same!(in8(ADDRESS), 0xff);
    same!(in16(ADDRESS), 0xffff);
    same!(in32(DATA), HOST_BRIDGE);
    same!(in32(DATA + 1), u32::MAX, "beyond the end of the port");
    Ok(())
}
