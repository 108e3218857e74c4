//! Instructions with operands in memory, made at random.

use super::native::{DATA, INSTRUCTION, STACK, STACK_LEN};
use proptest::prelude::*;
use std::vec::Vec;

/// All that an instruction can change.
#[derive(Clone, PartialEq)]
pub(super) struct State {
    pub(super) gprs: [u64; 16],
    pub(super) rflags: u64,
    pub(super) data: Vec<u8>,
    pub(super) stack: Vec<u8>,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "State({:x?}, flags {:#x})", self.gprs, self.rflags)
    }
}

/// What follows the operand bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Constant {
    None,
    Byte,
    /// As wide as the operand, four bytes at most
    Full,
}

/// An instruction with a ModRM byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) opcode: &'static [u8],
    /// Of ModRM; `None`: a register
    pub(super) digit: Option<u8>,
    pub(super) constant: Constant,
    /// May have a LOCK prefix
    pub(super) lock: bool,
    /// May have an operand-size prefix
    pub(super) sized: bool,
    /// Flags that the manual leaves undefined
    pub(super) undefined: u64,
    pub(super) only_64: bool,
}

const CF: u64 = 1;
const PF: u64 = 4;
const AF: u64 = 0x10;
const ZF: u64 = 0x40;
const SF: u64 = 0x80;
const DF: u64 = 0x400;
const OF: u64 = 0x800;
pub(super) const COMPARED: u64 = CF | PF | AF | ZF | SF | DF | OF;

const fn row(opcode: &'static [u8]) -> Row {
    Row {
        opcode,
        digit: None,
        constant: Constant::None,
        lock: false,
        sized: true,
        undefined: 0,
        only_64: false,
    }
}

const fn group(opcode: &'static [u8], digit: u8, constant: Constant) -> Row {
    Row {
        digit: Some(digit),
        constant,
        ..row(opcode)
    }
}

const fn locked(row: Row) -> Row {
    Row { lock: true, ..row }
}

const fn undefined(undefined: u64, row: Row) -> Row {
    Row { undefined, ..row }
}

/// The eight operations of the first opcodes, in all forms, and what else there is.
pub(super) fn rows() -> Vec<Row> {
    const OPCODES: [[[u8; 1]; 4]; 8] = {
        let mut all = [[[0; 1]; 4]; 8];
        let mut n = 0;
        while n < 32 {
            all[n / 4][n % 4] = [(n / 4 * 8 + n % 4) as u8];
            n += 1;
        }
        all
    };
    const BITS: u64 = OF | SF | AF | PF;
    let mut rows = std::vec![
        row(&[0x88]),
        row(&[0x89]),
        row(&[0x8a]),
        row(&[0x8b]),
        group(&[0xc6], 0, Constant::Byte),
        group(&[0xc7], 0, Constant::Full),
        row(&[0x0f, 0xb6]),
        row(&[0x0f, 0xb7]),
        row(&[0x0f, 0xbe]),
        row(&[0x0f, 0xbf]),
        Row {
            only_64: true,
            ..row(&[0x63])
        },
        Row {
            sized: false,
            ..row(&[0x0f, 0xc3])
        },
        locked(row(&[0x86])),
        locked(row(&[0x87])),
        undefined(AF, row(&[0x84])),
        undefined(AF, row(&[0x85])),
        undefined(AF, group(&[0xf6], 0, Constant::Byte)),
        undefined(AF, group(&[0xf7], 0, Constant::Full)),
        locked(row(&[0x0f, 0xb0])),
        locked(row(&[0x0f, 0xb1])),
        locked(row(&[0x0f, 0xc0])),
        locked(row(&[0x0f, 0xc1])),
        undefined(BITS, row(&[0x0f, 0xa3])),
        undefined(BITS, locked(row(&[0x0f, 0xab]))),
        undefined(BITS, locked(row(&[0x0f, 0xb3]))),
        undefined(BITS, locked(row(&[0x0f, 0xbb]))),
        undefined(BITS, group(&[0x0f, 0xba], 4, Constant::Byte)),
        group(&[0xff], 6, Constant::None),
        group(&[0x8f], 0, Constant::None),
    ];
    if std::is_x86_feature_detected!("movbe") {
        rows.extend([row(&[0x0f, 0x38, 0xf0]), row(&[0x0f, 0x38, 0xf1])]);
    }
    for digit in 5..8 {
        rows.push(undefined(
            BITS,
            locked(group(&[0x0f, 0xba], digit, Constant::Byte)),
        ));
    }
    for (n, opcodes) in (0..).zip(&OPCODES) {
        // CMP cannot be locked; AND, OR, XOR leave AF undefined.
        let lock = n != 7;
        let undefined = if matches!(n, 1 | 4 | 6) { AF } else { 0 };
        for (form, opcode) in opcodes.iter().enumerate() {
            rows.push(Row {
                lock: lock && form < 2,
                undefined,
                ..row(opcode)
            });
        }
        let constants: [(&'static [u8], _); 3] = [
            (&[0x80], Constant::Byte),
            (&[0x81], Constant::Full),
            (&[0x83], Constant::Byte),
        ];
        for (opcode, constant) in constants {
            rows.push(Row {
                lock,
                undefined,
                ..group(opcode, n, constant)
            });
        }
    }
    let unary: [(&'static [u8], u8); 4] = [(&[0xf6], 2), (&[0xf7], 2), (&[0xf6], 3), (&[0xf7], 3)];
    let steps: [(&'static [u8], u8); 4] = [(&[0xfe], 0), (&[0xff], 0), (&[0xfe], 1), (&[0xff], 1)];
    for (opcode, digit) in unary.into_iter().chain(steps) {
        rows.push(locked(group(opcode, digit, Constant::None)));
    }
    rows
}

/// Choices for one instruction, all of them valid for every row.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) row: Row,
    pub(super) is_32: bool,
    /// Operand size, address size, LOCK, REX, REX.W
    prefixes: [bool; 5],
    segment: Option<u8>,
    register: u8,
    base: u8,
    index: u8,
    scale: u8,
    form: u8,
    displacement: i32,
    constant: u32,
    /// Of the operand in the data
    target: u64,
    /// For BT: which bit from the operand on
    bit: i64,
    /// For CMPXCHG: the accumulator fits
    equal: bool,
    seed: u64,
}

pub(super) fn choice() -> impl Strategy<Value = Choice> {
    let target = prop_oneof![0x1000..0x2ff0u64, 0x1ff8..0x2000u64];
    let displacement = prop_oneof![-128..128i32, any::<i32>()];
    let constant = prop_oneof![
        Just(0u32),
        Just(1),
        Just(0x80),
        Just(u32::MAX),
        any::<u32>()
    ];
    (
        prop::sample::select(rows()),
        any::<(bool, [bool; 5])>(),
        prop::option::weighted(
            0.1,
            prop::sample::select(std::vec![0x26u8, 0x2e, 0x36, 0x3e]),
        ),
        (0..16u8, 0..16u8, 0..16u8, 0..4u8, 0..6u8),
        displacement,
        constant,
        target,
        (-0x1000 * 8..0xf00 * 8i64, any::<bool>(), any::<u64>()),
    )
        .prop_map(
            |(row, modes, segment, numbers, displacement, constant, target, rest)| {
                let (register, base, index, scale, form) = numbers;
                let (bit, equal, seed) = rest;
                Choice {
                    row,
                    is_32: modes.0 && !row.only_64,
                    prefixes: modes.1,
                    segment,
                    register,
                    base,
                    index,
                    scale,
                    form,
                    displacement,
                    constant,
                    target,
                    bit,
                    equal,
                    seed,
                }
            },
        )
}

/// Numbers that look random and often have their high bits set or clear (splitmix64).
pub(super) fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        match z % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => 0x8000_8000_8000_8080,
            3 => 0x7fff_ffff_7fff_7f7f,
            _ => z,
        }
    }
}

pub(super) fn state(seed: u64) -> State {
    let mut next = numbers(seed);
    let mut bytes = |len: usize| (0..len / 8).flat_map(|_| next().to_le_bytes()).collect();
    let (data, stack) = (bytes(super::native::DATA_LEN), bytes(STACK_LEN));
    State {
        gprs: core::array::from_fn(|_| next()),
        rflags: 2 | (next() & COMPARED & !DF),
        data,
        stack,
    }
}

impl Choice {
    fn is(&self, opcode: &[u8]) -> bool {
        self.row.opcode == opcode
    }

    /// The bytes, and a state in which the operand lies in the data; `None` where registers cannot be had both
    /// ways.
    pub(super) fn build(&self) -> Option<(Vec<u8>, State)> {
        let mut state = state(self.seed);
        let registers = if self.is_32 { 8 } else { 16 };
        let [size_16, short, lock, rex, wide] = self.prefixes;
        let (base, index) = (self.base % registers, self.index % registers);
        let register = self.row.digit.unwrap_or(self.register % registers);
        let uses_stack = self.is(&[0xff]) && self.row.digit == Some(6) || self.is(&[0x8f]);
        let width_prefix = size_16 && self.row.sized;
        let short = short && !self.is_32;

        let mut bytes = Vec::new();
        bytes.extend(self.segment);
        if width_prefix {
            bytes.push(0x66);
        }
        if short {
            bytes.push(0x67);
        }
        if lock && self.row.lock {
            bytes.push(0xf0);
        }

        // Forms: [base], [base+d8], [base+d32], [base+index*s+d8], [d32], [rip+d32].
        let form = match self.form {
            0 if base & 7 == 5 => 1,
            5 if self.is_32 => 4,
            form => form,
        };
        let has_base = form <= 3;
        let has_index = form == 3 && index != 4 && index != base;
        // Code cannot be written by way of CS outside 64-bit mode.
        if self.is_32 && self.segment == Some(0x2e) {
            return None;
        }
        if uses_stack && ((has_base && base == 4) || (has_index && index == 4)) {
            return None;
        }
        let bits = (register >> 3) << 2
            | if has_index { (index >> 3) << 1 } else { 0 }
            | if has_base { base >> 3 } else { 0 };
        if !self.is_32 && (rex || wide || bits != 0) {
            bytes.push(0x40 | bits | u8::from(wide) << 3);
        }
        let wide = wide && !self.is_32;
        bytes.extend(self.row.opcode);

        let target = DATA + self.target;
        let reg = (register & 7) << 3;
        let low = if form == 1 || form == 3 {
            i32::from(self.displacement as i8)
        } else {
            self.displacement
        };
        let width = if wide {
            8
        } else if width_prefix {
            2
        } else {
            4
        };
        let constant: Vec<u8> = match self.row.constant {
            Constant::None => Vec::new(),
            Constant::Byte => std::vec![self.constant as u8],
            Constant::Full => self.constant.to_le_bytes()[..width.min(4)].to_vec(),
        };
        match form {
            4 => {
                if self.is_32 {
                    bytes.push(reg | 5);
                } else {
                    bytes.extend([reg | 4, 0x25]);
                }
                bytes.extend((target as u32).to_le_bytes());
            }
            5 => {
                bytes.push(reg | 5);
                let next = INSTRUCTION + (bytes.len() + 4 + constant.len()) as u64;
                bytes.extend((target.wrapping_sub(next) as u32).to_le_bytes());
            }
            _ => {
                let mode = [0x00, 0x40, 0x80, 0x40][usize::from(form)];
                if has_index {
                    bytes.extend([
                        mode | reg | 4,
                        self.scale << 6 | (index & 7) << 3 | (base & 7),
                    ]);
                } else if base & 7 == 4 {
                    bytes.extend([mode | reg | 4, 0x24]);
                } else {
                    bytes.push(mode | reg | (base & 7));
                }
                match mode {
                    0x40 => bytes.push(low as u8),
                    0x80 => bytes.extend(low.to_le_bytes()),
                    _ => {}
                }
                let added = if form == 0 { 0 } else { low as u64 };
                let scaled = if has_index {
                    state.gprs[usize::from(index)].wrapping_mul(1 << self.scale)
                } else {
                    0
                };
                let value = target.wrapping_sub(added).wrapping_sub(scaled);
                state.gprs[usize::from(base)] = if short || self.is_32 {
                    // The upper half must not count.
                    value & 0xffff_ffff | state.gprs[usize::from(base)] & 0xffff_ffff_0000_0000
                } else {
                    value
                };
            }
        }
        bytes.extend(&constant);

        let in_address =
            |register: u8| (has_base && register == base) || (has_index && register == index);
        if matches!(self.row.opcode, [0x0f, 0xa3 | 0xab | 0xb3 | 0xbb]) {
            if in_address(register) {
                return None;
            }
            state.gprs[usize::from(register)] = self.bit as u64;
        }
        if matches!(self.row.opcode, [0x0f, 0xb0 | 0xb1]) && self.equal {
            let at = self.target as usize;
            state.data[at..at + 8].copy_from_slice(&state.gprs[0].to_le_bytes());
        }
        if uses_stack {
            state.gprs[4] = STACK + 0x800 + (self.seed & 0xf);
        }
        (bytes.len() <= 15).then_some((bytes, state))
    }
}

/// A string instruction with its prefixes, and a state for it.
pub(super) fn string() -> impl Strategy<Value = (Vec<u8>, bool, State)> {
    let opcodes = std::vec![0xa4u8, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];
    let repeat = prop::option::of(prop::sample::select(std::vec![0xf2u8, 0xf3]));
    (
        prop::sample::select(opcodes),
        repeat,
        any::<[bool; 6]>(),
        (
            0..150u64,
            0x1800..0x1900u64,
            0x2000..0x2100u64,
            any::<u64>(),
        ),
    )
        .prop_map(|(opcode, repeat, modes, (count, source, target, seed))| {
            let [is_32, size_16, short, wide, backward, same] = modes;
            let mut state = state(seed);
            let upper = if is_32 || short {
                0xffff_ffff_0000_0000
            } else {
                0
            };
            let mut set = |register: usize, value| {
                state.gprs[register] = state.gprs[register] & upper | value;
            };
            set(1, count);
            set(6, DATA + source);
            set(7, DATA + target);
            if backward {
                state.rflags |= DF;
            }
            if same {
                // Long runs of equal elements.
                let value = state.gprs[0].to_le_bytes();
                for (n, byte) in state.data.iter_mut().enumerate() {
                    *byte = value[if opcode & 1 == 0 { 0 } else { n % 2 }];
                }
                state.gprs[0] = u64::from(value[0]) * 0x0101_0101_0101_0101;
            }
            let mut bytes: Vec<u8> = repeat.into_iter().collect();
            if size_16 {
                bytes.push(0x66);
            }
            if short && !is_32 {
                bytes.push(0x67);
            }
            if wide && !is_32 {
                bytes.push(0x48);
            }
            bytes.push(opcode);
            (bytes, is_32, state)
        })
}
