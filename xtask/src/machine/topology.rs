//! How the logical processors of a machine lie in cores and packages.

use std::fmt;
use std::str::FromStr;

/// The most logical processors of a machine.
pub const MAX_CPUS: u32 = 16;

/// How many packages, cores in each, and threads of each core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topology {
    packages: u32,
    cores: u32,
    threads: u32,
}

impl Topology {
    /// So many packages of one core with one thread: the emulators number their processors alike however they lie.
    #[must_use]
    pub const fn flat(cpus: u32) -> Topology {
        Topology {
            packages: cpus,
            cores: 1,
            threads: 1,
        }
    }

    /// All logical processors.
    #[must_use]
    pub const fn cpus(self) -> u32 {
        self.packages * self.cores * self.threads
    }

    /// As QEMU wants it after `-smp`.
    pub(super) fn smp(self) -> String {
        format!(
            "{},sockets={},cores={},threads={}",
            self.cpus(),
            self.packages,
            self.cores,
            self.threads
        )
    }
}

impl fmt::Display for Topology {
    /// As Bochs wants it after `count=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.packages, self.cores, self.threads)
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Topology, String> {
        let numbers: Result<Vec<u32>, _> = text.split(':').map(str::parse).collect();
        let topology = match numbers.as_deref() {
            Ok(&[cpus]) => Topology::flat(cpus.min(MAX_CPUS + 1)),
            Ok(&[packages, cores, threads])
                if [packages, cores, threads].iter().all(|&n| n <= MAX_CPUS) =>
            {
                Topology {
                    packages,
                    cores,
                    threads,
                }
            }
            _ => {
                return Err(
                    "write a number such as 4, or packages:cores:threads such as 1:2:2".to_owned(),
                );
            }
        };
        // The emulators number processors without gaps, which names core and package rightly only then.
        let fits = |n: u32, most: u32| n.is_power_of_two() && n <= most;
        if !fits(topology.cores, 8) || !fits(topology.threads, 4) {
            return Err("cores are 1, 2, 4 or 8 a package, threads 1, 2 or 4 a core".to_owned());
        }
        if !(1..=MAX_CPUS).contains(&topology.cpus()) {
            return Err(format!("from 1 to {MAX_CPUS} logical processors"));
        }
        Ok(topology)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_so_many_packages() {
        let four: Topology = "4".parse().unwrap();
        assert_eq!(four, Topology::flat(4));
        assert_eq!(four.to_string(), "4:1:1");
        assert_eq!(four.smp(), "4,sockets=4,cores=1,threads=1");
    }

    #[test]
    fn packages_cores_and_threads_are_told_apart() {
        let siblings: Topology = "1:2:4".parse().unwrap();
        assert_eq!(siblings.cpus(), 8);
        assert_eq!(siblings.to_string(), "1:2:4");
        assert_eq!(siblings.smp(), "8,sockets=1,cores=2,threads=4");
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        for wrong in [
            "",
            "0",
            "17",
            "4294967295",
            "1:2",
            "1:2:2:2",
            "1:3:1",
            "1:1:8",
            "1:16:1",
            "4:4:2",
            "0:1:1",
            "65536:8:4",
            "-1",
            "a",
        ] {
            assert!(wrong.parse::<Topology>().is_err(), "{wrong}");
        }
    }
}
