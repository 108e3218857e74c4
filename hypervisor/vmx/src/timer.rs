//! The VMX-preemption timer (SDM vol. 3, "VMX-Preemption Timer").

use spec::Ticks;

/// The timer value that runs out `ticks` from now, rounded up; at most the longest that the timer takes.
pub(crate) const fn count(ticks: Ticks, shift: u8) -> u32 {
    // The field gives the shift in five bits.
    let shift = shift & 31;
    let whole = ticks.0 >> shift;
    let rest = ticks.0 & (1_u64 << shift).wrapping_sub(1) != 0;
    if whole >= u32::MAX as u64 {
        u32::MAX
    } else {
        (whole as u32).saturating_add(rest as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_rounded_up_and_saturates() {
        assert_eq!(count(Ticks(0), 5), 0);
        assert_eq!(count(Ticks(1), 5), 1);
        assert_eq!(count(Ticks(32), 5), 1);
        assert_eq!(count(Ticks(33), 5), 2);
        assert_eq!(count(Ticks(7), 0), 7);
        assert_eq!(count(Ticks(u64::from(u32::MAX) << 5), 5), u32::MAX);
        assert_eq!(count(Ticks((u64::from(u32::MAX) << 5) - 1), 5), u32::MAX);
        assert_eq!(count(Ticks(u64::MAX), 31), u32::MAX);
        assert_eq!(count(Ticks(u64::MAX), 0), u32::MAX);
    }
}
