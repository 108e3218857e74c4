//! A set of interrupt vectors that knows its highest member: IRR, ISR and TMR
//! (SDM vol. 3, "Interrupt Acceptance for Fixed Interrupts").
#![expect(clippy::arithmetic_side_effects, reason = "four words of 64 bits")]
#![expect(
    clippy::indexing_slicing,
    reason = "two bits of a vector, or a loop over four, index four words"
)]

/// Vectors 16 to 255. The lower ones are never put in, so that 0 can stand for "none".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct VectorSet {
    words: [u64; 4],
    highest: u8,
}

impl VectorSet {
    pub(super) const EMPTY: VectorSet = VectorSet {
        words: [0; 4],
        highest: 0,
    };

    /// From words of 64 bits, the lowest vectors first; vectors below 16 are left out.
    pub(super) const fn from_words(mut words: [u64; 4]) -> VectorSet {
        words[0] &= !0xffff;
        let mut set = VectorSet { words, highest: 0 };
        set.highest = set.find();
        set
    }

    /// From the eight 32-bit registers that show a set.
    pub(super) fn from_registers(registers: [u32; 8]) -> VectorSet {
        let [a, b, c, d, e, f, g, h] = registers.map(u64::from);
        Self::from_words([a | b << 32, c | d << 32, e | f << 32, g | h << 32])
    }

    pub(super) const fn words(&self) -> [u64; 4] {
        self.words
    }

    pub(super) fn union(&self, other: &VectorSet) -> VectorSet {
        self.with(other, |a, b| a | b)
    }

    pub(super) fn intersection(&self, other: &VectorSet) -> VectorSet {
        self.with(other, |a, b| a & b)
    }

    pub(super) fn without(&self, other: &VectorSet) -> VectorSet {
        self.with(other, |a, b| a & !b)
    }

    fn with(&self, other: &VectorSet, f: fn(u64, u64) -> u64) -> VectorSet {
        Self::from_words(core::array::from_fn(|i| f(self.words[i], other.words[i])))
    }

    /// The highest member, 0 if there is none.
    #[inline]
    pub(super) const fn highest(&self) -> u8 {
        self.highest
    }

    #[inline]
    pub(super) const fn contains(&self, vector: u8) -> bool {
        self.words[(vector >> 6) as usize] & bit(vector) != 0
    }

    #[inline]
    pub(super) const fn insert(&mut self, vector: u8) {
        self.words[(vector >> 6) as usize] |= bit(vector);
        if vector > self.highest {
            self.highest = vector;
        }
    }

    #[inline]
    pub(super) const fn remove(&mut self, vector: u8) {
        self.words[(vector >> 6) as usize] &= !bit(vector);
        if vector == self.highest {
            self.highest = self.find();
        }
    }

    /// One of the eight 32-bit registers that show the set.
    #[inline]
    pub(super) const fn register(&self, index: u8) -> u32 {
        let word = self.words[((index >> 1) & 3) as usize];
        (word >> (32 * (index & 1) as u32)) as u32
    }

    /// Word by word from the top.
    const fn find(&self) -> u8 {
        let mut i = 4;
        while i > 0 {
            i -= 1;
            if self.words[i] != 0 {
                return (64 * i as u32 + self.words[i].ilog2()) as u8;
            }
        }
        0
    }
}

const fn bit(vector: u8) -> u64 {
    1 << (vector & 63)
}
