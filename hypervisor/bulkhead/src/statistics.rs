//! Exit statistics as the log shows them.

use crate::guest::Guest;
use crate::log::{self, Level};
use core::fmt;

/// Logs the statistics of each vCPU of a guest, a line for each kind of exit.
pub(crate) fn log(guest: &Guest) {
    for (vcpu, statistics) in guest.vm.statistics.iter().enumerate() {
        let snapshot = statistics.snapshot();
        for row in snapshot.rows() {
            log::line(
                Level::Info,
                &guest.vm.name,
                format_args!(
                    "statistics: vcpu={vcpu} exit={} count={} ticks={} worst={} log2={}",
                    row.kind.name(),
                    row.count(),
                    row.sum.0,
                    row.worst.0,
                    Histogram(&row.histogram)
                ),
            );
        }
    }
}

/// A histogram in powers of two: `n:count` for each bucket that is not empty, of durations below 2^n.
struct Histogram<'a>(&'a [u64]);

impl fmt::Display for Histogram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets = self.0.iter().enumerate().filter(|(_, count)| **count != 0);
        for (i, (n, count)) in buckets.enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{n}:{count}")?;
        }
        Ok(())
    }
}
