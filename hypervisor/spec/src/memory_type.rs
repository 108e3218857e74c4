//! Memory types (SDM vol. 3, "Memory Types That Can Be Encoded in MTRRs"; the PAT and EPT use the same numbers).

/// How the processor caches an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MemoryType {
    /// UC
    Uncacheable = 0,
    /// WC
    WriteCombining = 1,
    /// WT
    WriteThrough = 4,
    /// WP
    WriteProtected = 5,
    /// WB
    WriteBack = 6,
}

impl MemoryType {
    /// The type of an encoded number; `None` for a reserved one.
    #[must_use]
    pub const fn from_number(n: u64) -> Option<Self> {
        Some(match n {
            0 => Self::Uncacheable,
            1 => Self::WriteCombining,
            4 => Self::WriteThrough,
            5 => Self::WriteProtected,
            6 => Self::WriteBack,
            _ => return None,
        })
    }
}
