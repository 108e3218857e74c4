//! A flat binary in 64-bit mode.
#![no_std]
#![no_main]

use guests::start::zero_page;
use guests::verdict::Verdict;
use guests::{cpu, guest, same};

guest!(it_runs_where_it_was_loaded, the_zero_page_is_passed);

fn it_runs_where_it_was_loaded() -> Verdict {
    let here = it_runs_where_it_was_loaded as *const () as u64;
    same!(here >> 21, 1, "{here:#x}");
    same!(cpu::cr0() >> 31, 1);
    Ok(())
}

fn the_zero_page_is_passed() -> Verdict {
    let magic = zero_page().hdr.header;
    same!(magic, *b"HdrS");
    Ok(())
}
