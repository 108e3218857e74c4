//! INS and OUTS.
//!
//! Port, width and direction are those of the exit: the processor has checked the guest's right to that port,
//! and bytes read again could be others.

use crate::access::{Bus, Place};
use crate::error::Error;
use crate::registers::{get, low, set, step};
use crate::string::{ES, batch};
use crate::walk::Intent;
use seam::GuestMem;
use spec::cpu::{Gpr, Gprs, Rflags};
use spec::state::CpuState;
use spec::{Port, Width};

/// What lies behind the guest's I/O ports.
pub trait PortBus {
    /// Reads; bits above the width do not count. What nothing answers reads as all ones.
    fn read(&mut self, port: Port, width: Width) -> u64;
    /// Writes; bits of `value` above the width are zero.
    fn write(&mut self, port: Port, width: Width, value: u64);
}

/// An INS or OUTS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StringPort {
    /// The port, from DX
    pub port: Port,
    /// 1, 2 or 4 bytes an element
    pub width: Width,
    /// INS, from port to memory; else OUTS
    pub input: bool,
    /// Whether a REP prefix stands before it
    pub repeated: bool,
    /// Address size: 2, 4 or 8 bytes
    pub address_size: Width,
    /// Segment of OUTS's operand, by its index in [`CpuState::segments`]; INS always uses ES
    pub segment: u8,
}

/// How far an instruction came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It is finished: RIP moves past it
    Finished,
    /// There is more to do: RIP stays
    More,
}

/// Carries out an INS or OUTS, up to a bounded number of elements. Memory may be emulated, too.
///
/// # Errors
/// [`Error::Inject`], [`Error::Retry`], [`Error::Outside`], all for the first element alone; registers are
/// unchanged then.
pub fn run_string_port(
    cpu: &CpuState,
    gprs: &mut Gprs,
    access: StringPort,
    mem: &impl GuestMem,
    bus: &mut impl Bus,
    ports: &mut impl PortBus,
) -> Result<Progress, Error> {
    let counter = low(Gpr::Rcx, access.address_size);
    let (gpr, segment, intent) = if access.input {
        (Gpr::Rdi, ES, Intent::Write)
    } else {
        (Gpr::Rsi, usize::from(access.segment), Intent::Read)
    };
    let index = low(gpr, access.address_size);
    let (port, width) = (access.port, access.width);
    for n in 0..batch(cpu.rflags) {
        let left = get(gprs, counter);
        if access.repeated && left == 0 {
            return Ok(Progress::Finished);
        }
        // The operand is translated before a port is read: what a read takes out of a chip must not be lost.
        let mut one = || -> Result<(), Error> {
            let place = Place::find(mem, cpu, segment, get(gprs, index), width, intent, None)?;
            if access.input {
                place.write(mem, bus, ports.read(port, width))
            } else {
                ports.write(port, width, place.read(mem, bus)?);
                Ok(())
            }
        };
        match one() {
            Ok(()) => {}
            Err(error) if n == 0 => return Err(error),
            Err(_) => return Ok(Progress::More),
        }
        step(gprs, index, width, cpu.rflags & Rflags::DF.bits() != 0);
        if !access.repeated {
            return Ok(Progress::Finished);
        }
        set(gprs, counter, left.wrapping_sub(1));
    }
    Ok(if get(gprs, counter) == 0 {
        Progress::Finished
    } else {
        Progress::More
    })
}
