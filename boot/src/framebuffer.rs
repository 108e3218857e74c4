//! The screen's memory (UEFI 2.10, section 12.9, "Graphics Output Protocol").

use bootloader_api::info::{FrameBufferInfo, PixelFormat};
use spec::Hpa;
use uefi::boot;
use uefi::proto::console::gop::{self, GraphicsOutput};

/// Bytes of a pixel in each format that can be written directly.
const PIXEL: usize = 4;

/// Where the first screen's memory is and what its pixels look like; `None` without one that can be written to.
pub fn find() -> Option<(Hpa, FrameBufferInfo)> {
    let handle = boot::get_handle_for_protocol::<GraphicsOutput>().ok()?;
    let mut screen = crate::protocol::get::<GraphicsOutput>(handle).ok()?;
    let mode = screen.current_mode_info();
    let pixel_format = match mode.pixel_format() {
        gop::PixelFormat::Rgb => PixelFormat::Rgb,
        gop::PixelFormat::Bgr => PixelFormat::Bgr,
        gop::PixelFormat::Bitmask => {
            let mask = mode.pixel_bitmask()?;
            PixelFormat::Unknown {
                red_position: mask.red.trailing_zeros() as u8,
                green_position: mask.green.trailing_zeros() as u8,
                blue_position: mask.blue.trailing_zeros() as u8,
            }
        }
        gop::PixelFormat::BltOnly => return None,
    };
    let (width, height) = mode.resolution();
    let stride = mode.stride();
    let mut memory = screen.frame_buffer();
    let (start, size) = (memory.as_mut_ptr() as u64, memory.size());
    // Whoever draws trusts these numbers.
    let needed = stride.checked_mul(height)?.checked_mul(PIXEL)?;
    let sound = width > 0 && width <= stride && needed <= size && start != 0;
    sound.then_some((
        Hpa(start),
        FrameBufferInfo {
            byte_len: needed,
            width,
            height,
            pixel_format,
            bytes_per_pixel: PIXEL,
            stride,
        },
    ))
}
