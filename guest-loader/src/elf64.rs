//! ELF64 executables that no protocol names, entered in 64-bit mode.

use crate::executable::Executable;
use crate::place::Placer;
use crate::{Image, LoadError, Start, handoff, start};
use seam::GuestMem;
use spec::Gpa;
use spec::state::StartState;

pub(crate) fn load(
    image: &Image<'_>,
    place: &mut Placer<'_>,
    rsdp: Gpa,
    mem: &impl GuestMem,
) -> Result<StartState, LoadError> {
    let file = Executable::parse(image.kernel)?;
    if !file.is_64_bit() {
        return Err(LoadError::ElfNot64Bit);
    }
    file.put(place, mem)?;
    let entry = file.entry()?;
    let tables = handoff::write(handoff::bare_header(), image, place, rsdp, mem)?;
    Ok(start::entered(Start::Long, entry, tables))
}
