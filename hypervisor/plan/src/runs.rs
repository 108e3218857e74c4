//! What runs a VM, as a list of VMs shows it.

use crate::{Reservation, Runs, Share};
use core::fmt;
use spec::Nanos;

/// What there is to say behind the number of vCPUs, from a comma on; nothing where the config asks for nothing.
impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dedicated(cores) => write!(f, ", on cores {cores:?}"),
            Self::Cyclic => f.write_str(", in windows"),
            Self::Pool(share) if *share == Share::default() => Ok(()),
            Self::Pool(share) => {
                if let Some(Reservation { budget, period }) = share.reservation {
                    write!(f, ", {} of every {}", Nanos(budget), Nanos(period))?;
                }
                match share.weight {
                    Some(weight) => write!(f, ", weight {weight}"),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn each_class_is_told_in_a_few_words() {
        let share = |weight, reservation| {
            Runs::Pool(Share {
                weight,
                reservation,
            })
            .to_string()
        };
        let some = Some(Reservation {
            budget: 300_000,
            period: 1_000_000,
        });
        assert_eq!(Runs::Dedicated(vec![1, 2]).to_string(), ", on cores [1, 2]");
        assert_eq!(Runs::Cyclic.to_string(), ", in windows");
        assert_eq!(Runs::Pool(Share::default()).to_string(), "");
        assert_eq!(share(Some(200), None), ", weight 200");
        assert_eq!(share(None, some), ", 300 us of every 1 ms");
        assert_eq!(share(Some(5), some), ", 300 us of every 1 ms, weight 5");
    }
}
