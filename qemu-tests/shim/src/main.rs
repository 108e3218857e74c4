//! Plays a firmware that has VT-x switched off: locks IA32_FEATURE_CONTROL without VMX, and starts `\bulkhead\boot.efi` of its
//! own volume.
// UNSAFETY: WRMSR.
#![allow(unsafe_code)]
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use spec::msr::{FEATURE_CONTROL, FeatureControl};
use uefi::boot::{self, LoadImageSource};
use uefi::proto::BootPolicy;
use uefi::proto::device_path::DevicePath;
use uefi::proto::device_path::build::{DevicePathBuilder, media::FilePath};
use uefi::proto::loaded_image::LoadedImage;
use uefi::{Status, cstr16};

#[uefi::entry]
fn main() -> Status {
    lock();
    start().map_or_else(|error| error.status(), |()| Status::SUCCESS)
}

/// Locks the register with all its permissions off (SDM vol. 3, "Enabling and Entering VMX Operation").
fn lock() {
    let value = FeatureControl::LOCK.bits();
    // SAFETY: takes effect in nothing that the firmware does.
    unsafe {
        core::arch::asm!("wrmsr", in("ecx") FEATURE_CONTROL.0, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nomem, nostack));
    }
}

fn start() -> uefi::Result {
    let own = boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle())?;
    let volume = own.device().ok_or(Status::NOT_FOUND)?;
    let to_volume = boot::open_protocol_exclusive::<DevicePath>(volume)?;
    let file = FilePath {
        path_name: cstr16!("\\bulkhead\\boot.efi"),
    };
    let mut bytes = Vec::new();
    let mut path = DevicePathBuilder::with_vec(&mut bytes);
    for node in to_volume.node_iter() {
        path = path.push(&node).map_err(|_| Status::BAD_BUFFER_SIZE)?;
    }
    let path = path
        .push(&file)
        .and_then(DevicePathBuilder::finalize)
        .map_err(|_| Status::BAD_BUFFER_SIZE)?;
    let source = LoadImageSource::FromDevicePath {
        device_path: path,
        boot_policy: BootPolicy::ExactMatch,
    };
    let image = boot::load_image(boot::image_handle(), source)?;
    drop(to_volume);
    boot::start_image(image)
}
