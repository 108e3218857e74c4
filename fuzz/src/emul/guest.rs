//! A guest whose linear addresses are those of this process. Its data is emulated memory, at other guest-physical addresses, whose order
//! is not that of the linear ones.

use super::{
    CODE, CODE_32, CODE_64, DATA, DATA_32, DATA_LEN, INSTRUCTION, PAGE, READ_ONLY, STACK, State,
};
use emul::{Bus, Cache, Done, Error, execute};
use seam::{AccessError, GuestMem};
use spec::cpu::{Cr0, Cr4, Efer, Gpr, Gprs, Segment};
use spec::pte::Pte;
use spec::state::CpuState;
use spec::{Gpa, Width};
use std::cell::RefCell;

/// RAM from 0 on: tables, the stack, code.
const TABLES: [u64; 5] = [0x1000, 0x2000, 0x3000, 0x4000, 0x5000];
const STACK_GPA: u64 = 0x6000;
const CODE_GPA: u64 = 0x7000;
const RAM: usize = 0x8000;
const CHIPS: u64 = 0xfee0_0000;

pub(super) struct Guest {
    ram: Ram,
    chips: Chips,
}

/// How it ends.
pub(super) enum End {
    /// The instruction is done, and was this long.
    Length(u8),
    /// It is not.
    Error(Error),
}

impl Guest {
    pub(super) fn new() -> Self {
        let ram = Ram(RefCell::new(vec![0; RAM]));
        let [root, pointers, directory, low, high] = TABLES;
        let user = (Pte::PRESENT | Pte::WRITE | Pte::USER).bits();
        ram.set(root, pointers | user);
        ram.set(pointers, directory | user);
        for (linear, table) in [(DATA, low), (CODE, high)] {
            ram.set(directory + (linear >> 21) * 8, table | user);
        }
        let entry = |linear: u64| 8 * (linear >> 12 & 511);
        for page in 0..DATA_LEN / PAGE {
            let rights = match page {
                READ_ONLY => user & !Pte::WRITE.bits(),
                _ => user,
            };
            let gpa = CHIPS + (page ^ 1) as u64 * PAGE as u64;
            let linear = DATA + (page * PAGE) as u64;
            ram.set(low + entry(linear), gpa | rights);
        }
        ram.set(low + entry(STACK), STACK_GPA | user);
        ram.set(high + entry(CODE), CODE_GPA | user);
        Self {
            ram,
            chips: Chips(Box::new([0; DATA_LEN])),
        }
    }

    /// Runs the instruction to its end, in steps as a VM would. The state is that afterwards.
    pub(super) fn run(&mut self, bytes: &[u8], state: &mut State) -> End {
        for (page, bytes) in state.data.chunks_exact(PAGE).enumerate() {
            self.chips.0[(page ^ 1) * PAGE..][..PAGE].copy_from_slice(bytes);
        }
        let code = CODE_GPA + INSTRUCTION % PAGE as u64;
        let written = [
            self.ram.write_from(Gpa(STACK_GPA), &*state.stack),
            self.ram.write_from(Gpa(code), &super::native::code(bytes)),
        ];
        assert_eq!(written, [Ok(()); 2]);
        let mut cpu = cpu(state);
        let mut gprs = Gprs(state.gprs);
        gprs.set(Gpr::Rsp, STALE);
        let end = loop {
            let done = Cache::default()
                .fetch(&cpu, &self.ram)
                .and_then(|operation| {
                    execute(
                        &operation,
                        &cpu,
                        &mut gprs,
                        &self.ram,
                        &mut self.chips,
                        None,
                    )
                });
            match done {
                Err(error) => break End::Error(error),
                Ok(Done {
                    length,
                    rflags,
                    rsp,
                }) => {
                    cpu.rflags = rflags;
                    cpu.rsp = rsp.unwrap_or(cpu.rsp);
                    if length != 0 {
                        break End::Length(length);
                    }
                }
            }
        };
        assert_eq!(
            gprs.get(Gpr::Rsp),
            STALE,
            "RSP's slot is not the emulator's"
        );
        gprs.set(Gpr::Rsp, cpu.rsp);
        (state.gprs, state.rflags) = (gprs.0, cpu.rflags);
        for (page, bytes) in state.data.chunks_exact_mut(PAGE).enumerate() {
            bytes.copy_from_slice(&self.chips.0[(page ^ 1) * PAGE..][..PAGE]);
        }
        let stack = self.ram.read_into(Gpa(STACK_GPA), &mut *state.stack);
        assert_eq!(stack, Ok(()));
        end
    }
}

const STALE: u64 = 0x5bad_5bad_5bad_5bad;

/// User mode in 64-bit or compatibility mode, with Linux's flat segments.
fn cpu(state: &State) -> CpuState {
    let segment = |selector, rights| Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights: rights | Segment::DEFAULT_32 | 0x60,
    };
    let data = segment(DATA_32, Segment::DATA_ACCESSED);
    let null = Segment {
        selector: 0,
        base: 0,
        limit: 0,
        rights: Segment::UNUSABLE,
    };
    let code = if state.is_32 {
        segment(CODE_32, Segment::CODE_ACCESSED)
    } else {
        let code = segment(CODE_64, Segment::CODE_ACCESSED | Segment::LONG);
        Segment {
            rights: code.rights & !Segment::DEFAULT_32,
            ..code
        }
    };
    CpuState {
        rip: INSTRUCTION,
        rsp: state.gprs[Gpr::Rsp as usize],
        rflags: state.rflags,
        cr0: (Cr0::PE | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::PG).bits(),
        cr3: TABLES[0],
        cr4: Cr4::PAE.bits(),
        efer: (Efer::LME | Efer::LMA | Efer::NXE).bits(),
        physical_bits: 52,
        segments: [data, code, data, data, null, null],
    }
}

struct Ram(RefCell<Vec<u8>>);

impl Ram {
    fn set(&self, at: u64, entry: u64) {
        assert_eq!(self.write_from(Gpa(at), &entry.to_le_bytes()), Ok(()));
    }

    fn with<T>(
        &self,
        gpa: Gpa,
        len: u64,
        f: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, AccessError> {
        let end = gpa.checked_add(len).ok_or(AccessError::Absent)?;
        let mut ram = self.0.borrow_mut();
        let part = ram.get_mut(gpa.0 as usize..end.0 as usize);
        part.map(f).ok_or(AccessError::Absent)
    }
}

impl GuestMem for Ram {
    fn read_into(&self, gpa: Gpa, into: &mut [u8]) -> Result<(), AccessError> {
        self.with(gpa, into.len() as u64, |part| into.copy_from_slice(part))
    }

    fn write_from(&self, gpa: Gpa, from: &[u8]) -> Result<(), AccessError> {
        self.with(gpa, from.len() as u64, |part| part.copy_from_slice(from))
    }

    fn zero(&self, gpa: Gpa, len: u64) -> Result<(), AccessError> {
        self.with(gpa, len, |part| part.fill(0))
    }

    fn read_u64(&self, gpa: Gpa) -> Result<u64, AccessError> {
        let mut bytes = [0; 8];
        if !gpa.is_aligned(8) {
            return Err(AccessError::Width);
        }
        self.read_into(gpa, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn compare_exchange_u64(&self, gpa: Gpa, old: u64, new: u64) -> Result<bool, AccessError> {
        let is_old = self.read_u64(gpa)? == old;
        if is_old {
            self.write_from(gpa, &new.to_le_bytes())?;
        }
        Ok(is_old)
    }
}

/// Chips that are nothing but memory.
struct Chips(Box<[u8; DATA_LEN]>);

impl Chips {
    fn part(&mut self, gpa: Gpa, width: Width) -> &mut [u8] {
        let at = gpa.0.wrapping_sub(CHIPS) as usize;
        let len = width.bytes() as usize;
        let part = self.0.get_mut(at..at.saturating_add(len));
        part.unwrap_or_else(|| panic!("{width:?} at {gpa:?}"))
    }
}

impl Bus for Chips {
    fn read(&mut self, gpa: Gpa, width: Width) -> u64 {
        // Bits above the width must not count.
        let mut bytes = [0xff; 8];
        let part = self.part(gpa, width);
        bytes[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(bytes)
    }

    fn write(&mut self, gpa: Gpa, width: Width, value: u64) {
        assert_eq!(value & !width.ones(), 0, "bits above the width");
        let part = self.part(gpa, width);
        let len = part.len();
        part.copy_from_slice(&value.to_le_bytes()[..len]);
    }
}
