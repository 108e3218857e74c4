//! Carries an [`Operation`] out.

use crate::access::{Bus, Place};
use crate::alu;
use crate::error::Error;
use crate::linear::stack_mask;
use crate::operation::{Arithmetic, BitAction, Kind, Operand, Operation};
use crate::registers::{get, low, offset, set};
use crate::string::string;
use crate::walk::{Intent, Translation};
use seam::GuestMem;
use spec::Width;
use spec::cpu::{Gpr, Gprs, Rflags};
use spec::state::CpuState;

/// What an instruction left behind beside general-purpose registers and memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// Bytes to move RIP by; 0 for a repeated string instruction that has more to do
    pub length: u8,
    /// RFLAGS afterwards
    pub rflags: u64,
    /// RSP afterwards, if it changed
    pub rsp: Option<u64>,
}

/// Carries out a decoded instruction.
///
/// RSP is that of `cpu`: its slot in `gprs` is neither read nor changed. `known` is the translation that the processor
/// made before it gave the instruction up, which saves a walk.
///
/// # Errors
/// See [`Error`]; `gprs` is unchanged then. [`Error::Retry`] if none of its operands is emulated.
pub fn execute(
    operation: &Operation,
    cpu: &CpuState,
    gprs: &mut Gprs,
    mem: &impl GuestMem,
    bus: &mut impl Bus,
    known: Option<&Translation>,
) -> Result<Done, Error> {
    let unused = gprs.get(Gpr::Rsp);
    gprs.set(Gpr::Rsp, cpu.rsp);
    let mut machine = Machine {
        cpu,
        gprs,
        rflags: cpu.rflags,
        mem,
        bus,
        known,
    };
    let outcome = match operation.kind {
        Kind::Move => machine.move_value(operation).map(|()| true),
        Kind::String(kind) => string(&mut machine, operation, kind),
        Kind::Push => machine.push(operation).map(|()| true),
        Kind::Pop => machine.pop(operation).map(|()| true),
        _ => machine.simple(operation).map(|()| true),
    };
    let rflags = machine.rflags;
    let rsp = gprs.get(Gpr::Rsp);
    gprs.set(Gpr::Rsp, unused);
    let is_finished = outcome?;
    Ok(Done {
        length: if is_finished { operation.length } else { 0 },
        // SDM vol. 3, "Instruction-Breakpoint Exception Condition": RF ends with the instruction.
        rflags: if is_finished {
            rflags & !Rflags::RF.bits()
        } else {
            rflags
        },
        rsp: (rsp != cpu.rsp).then_some(rsp),
    })
}

/// The processor while it carries out one instruction. What can fail comes before the first change of a register other
/// than RSP, so that an instruction that does not complete has changed none.
pub(crate) struct Machine<'a, M, B> {
    pub(crate) cpu: &'a CpuState,
    /// RSP's slot counts here
    pub(crate) gprs: &'a mut Gprs,
    pub(crate) rflags: u64,
    pub(crate) mem: &'a M,
    pub(crate) bus: &'a mut B,
    known: Option<&'a Translation>,
}

impl<M: GuestMem, B: Bus> Machine<'_, M, B> {
    pub(crate) fn find(
        &self,
        segment: usize,
        offset: u64,
        width: Width,
        intent: Intent,
    ) -> Result<Place, Error> {
        let known = self.known;
        Place::find(self.mem, self.cpu, segment, offset, width, intent, known)
    }

    pub(crate) fn read(&mut self, place: &Place) -> Result<u64, Error> {
        place.read(self.mem, self.bus)
    }

    pub(crate) fn write(&mut self, place: &Place, value: u64) -> Result<(), Error> {
        place.write(self.mem, self.bus, value)
    }

    /// The memory operand, `skip` bytes further on.
    fn memory(&self, op: &Operation, skip: u64, intent: Intent) -> Result<Place, Error> {
        let within = offset(&op.memory, self.cpu, self.gprs).wrapping_add(skip);
        let within = within & op.memory.size.ones();
        self.find(usize::from(op.memory.segment), within, op.width, intent)
    }

    /// The value of an operand; `memory` if it is the memory operand.
    fn value(&self, operand: Operand, memory: u64) -> u64 {
        match operand {
            Operand::None => 0,
            Operand::Memory => memory,
            Operand::Register(register) => get(self.gprs, register),
            Operand::Immediate(value) => value,
            Operand::Selector(index) => {
                let segment = self.cpu.segments.get(usize::from(index));
                segment.map_or(0, |segment| u64::from(segment.selector))
            }
        }
    }

    /// Stores into an operand: a register, or the memory operand at `place`.
    fn store(&mut self, operand: Operand, place: &Place, value: u64) -> Result<(), Error> {
        match operand {
            Operand::Memory => self.write(place, value)?,
            Operand::Register(register) => set(self.gprs, register, value),
            Operand::None | Operand::Immediate(_) | Operand::Selector(_) => {}
        }
        Ok(())
    }

    /// A load or a store: nearly all that reaches chips.
    fn move_value(&mut self, op: &Operation) -> Result<(), Error> {
        let is_load = op.source == Operand::Memory;
        let intent = if is_load { Intent::Read } else { Intent::Write };
        let place = self.memory(op, 0, intent)?;
        if place.is_ram() {
            return Err(Error::Retry);
        }
        let value = if is_load {
            self.read(&place)?
        } else {
            self.value(op.source, 0)
        };
        self.store(op.target, &place, value)
    }

    /// Another instruction with one operand in memory. It and those below are rare: their registers are not to be
    /// saved for a move.
    #[inline(never)]
    fn simple(&mut self, op: &Operation) -> Result<(), Error> {
        let only_reads = matches!(
            op.kind,
            Kind::Arithmetic(Arithmetic::Cmp | Arithmetic::Test) | Kind::Bit(BitAction::Keep)
        );
        let is_move = matches!(op.kind, Kind::MoveSigned | Kind::MoveReversed);
        let is_exchange = op.kind == Kind::Exchange;
        let writes = (op.target == Operand::Memory && !only_reads) || is_exchange;
        let intent = if writes { Intent::Write } else { Intent::Read };

        let (skip, bit) = self.bit_offset(op);
        let place = self.memory(op, skip, intent)?;
        if place.is_ram() {
            return Err(Error::Retry);
        }
        let memory = if is_move && writes {
            0
        } else {
            self.read(&place)?
        };
        let width = op.width;
        let target = self.value(op.target, memory) & width.ones();
        let source = self.value(op.source, memory);

        match op.kind {
            Kind::MoveSigned => self.store(op.target, &place, alu::sign_extend(source, width)),
            Kind::MoveReversed => self.store(op.target, &place, alu::reverse(source, width)),
            Kind::Exchange => {
                // The target is the operand in memory.
                self.store(op.target, &place, source)?;
                self.store(op.source, &place, target)
            }
            Kind::Arithmetic(kind) => {
                let source = source & width.ones();
                let (result, rflags) = alu::arithmetic(kind, target, source, width, self.rflags);
                self.rflags = rflags;
                if only_reads {
                    Ok(())
                } else {
                    self.store(op.target, &place, result)
                }
            }
            Kind::Unary(kind) => {
                let (result, rflags) = alu::unary(kind, target, width, self.rflags);
                self.rflags = rflags;
                self.store(op.target, &place, result)
            }
            Kind::Bit(action) => {
                let (result, rflags) = alu::bit(action, target, bit, self.rflags);
                self.rflags = rflags;
                if only_reads {
                    Ok(())
                } else {
                    self.store(op.target, &place, result)
                }
            }
            Kind::ExchangeAdd => {
                let sum = alu::arithmetic(Arithmetic::Add, target, source, width, self.rflags);
                self.rflags = sum.1;
                self.store(op.target, &place, sum.0)?;
                self.store(op.source, &place, target)
            }
            Kind::CompareExchange => {
                let accumulator = low(Gpr::Rax, width);
                let expected = get(self.gprs, accumulator);
                let (difference, rflags) =
                    alu::arithmetic(Arithmetic::Cmp, expected, target, width, self.rflags);
                self.rflags = rflags;
                if difference == 0 {
                    return self.store(op.target, &place, source);
                }
                // SDM vol. 2, CMPXCHG: the destination gets a write cycle whatever the comparison says.
                self.store(op.target, &place, target)?;
                set(self.gprs, accumulator, target);
                Ok(())
            }
            // `execute` sends these elsewhere.
            Kind::Move | Kind::Push | Kind::Pop | Kind::String(_) => Ok(()),
        }
    }

    /// For BT and its kin: how far on the element lies that holds the bit, and which bit of it. A register counts
    /// bits from the operand on, both ways; a constant stays within the operand (SDM vol. 2, BT).
    #[expect(clippy::arithmetic_side_effects, reason = "a width has 8 to 64 bits")]
    fn bit_offset(&self, op: &Operation) -> (u64, u64) {
        let bits = 8 * op.width.bytes();
        match (op.kind, op.source) {
            (Kind::Bit(_), Operand::Register(register)) => {
                let n = alu::sign_extend(get(self.gprs, register), op.width) as i64;
                let skip = n
                    .div_euclid(bits as i64)
                    .wrapping_mul(op.width.bytes() as i64);
                (skip as u64, n as u64 & (bits - 1))
            }
            (Kind::Bit(_), source) => (0, self.value(source, 0) & (bits - 1)),
            _ => (0, 0),
        }
    }

    /// RSP moved by `bytes`, at the width of the stack.
    fn moved_rsp(&self, bytes: u64) -> u64 {
        let (mask, rsp) = (stack_mask(self.cpu), self.gprs.get(Gpr::Rsp));
        (rsp & !mask) | (rsp.wrapping_add(bytes) & mask)
    }

    fn stack(&self, rsp: u64, width: Width, intent: Intent) -> Result<Place, Error> {
        self.find(CpuState::SS, rsp & stack_mask(self.cpu), width, intent)
    }

    #[inline(never)]
    fn push(&mut self, op: &Operation) -> Result<(), Error> {
        let from = self.memory(op, 0, Intent::Read)?;
        let rsp = self.moved_rsp(op.width.bytes().wrapping_neg());
        let to = self.stack(rsp, op.width, Intent::Write)?;
        if from.is_ram() && to.is_ram() {
            return Err(Error::Retry);
        }
        let value = self.read(&from)?;
        self.write(&to, value)?;
        self.gprs.set(Gpr::Rsp, rsp);
        Ok(())
    }

    #[inline(never)]
    fn pop(&mut self, op: &Operation) -> Result<(), Error> {
        let from = self.stack(self.gprs.get(Gpr::Rsp), op.width, Intent::Read)?;
        // SDM vol. 2, POP: an address with ESP as its base is computed after the increment.
        self.gprs.set(Gpr::Rsp, self.moved_rsp(op.width.bytes()));
        let to = self.memory(op, 0, Intent::Write)?;
        if from.is_ram() && to.is_ram() {
            return Err(Error::Retry);
        }
        let value = self.read(&from)?;
        self.write(&to, value)
    }
}
