//! `BOOTX64.EFI`: see the library.
#![no_std]
#![no_main]

use uefi::Status;

#[uefi::entry]
fn main() -> Status {
    boot::run()
}
