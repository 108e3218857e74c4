//! A flat binary: bytes for one address, where execution starts.

use crate::handoff::{self, LIMIT};
use crate::place::Placer;
use crate::{Image, LoadError, Start, start};
use seam::GuestMem;
use spec::Gpa;
use spec::state::StartState;

pub(crate) fn load(
    image: &Image<'_>,
    at: Gpa,
    mode: Start,
    place: &mut Placer<'_>,
    rsdp: Gpa,
    mem: &impl GuestMem,
) -> Result<StartState, LoadError> {
    if image.kernel.is_empty() {
        return Err(LoadError::Empty);
    }
    if at.0 >= LIMIT {
        return Err(LoadError::FlatAddress(at));
    }
    let len = image.kernel.len() as u64;
    if mode == Start::Real {
        let Ok(cs) = u16::try_from(at.0 >> 4) else {
            return Err(LoadError::RealModeAddress(at));
        };
        if image.initrd.is_some() || !image.cmdline.is_empty() {
            return Err(LoadError::RealModeExtras);
        }
        place.claim(at, len)?;
        mem.write_from(at, image.kernel)?;
        return Ok(start::reset(cs, (at.0 & 15) as u16));
    }
    place.claim(at, len)?;
    mem.write_from(at, image.kernel)?;
    let tables = handoff::write(handoff::bare_header(), image, place, rsdp, mem)?;
    Ok(start::entered(mode, at.0, tables))
}
