//! The workstation's idea of a guest's RAM and the hypervisor's are one.

use platform::MemoryMap;
use spec::linux::E820Kind;
use std::vec::Vec;

const MIB: u64 = 1 << 20;

#[test]
fn a_plan_sees_the_ram_that_the_guest_gets() {
    for memory in [
        4 * MIB,
        4 * MIB + 4096,
        256 * MIB,
        3072 * MIB - 4096,
        3072 * MIB,
        3072 * MIB + 4096,
        4096 * MIB,
        64 << 30,
    ] {
        let map = MemoryMap::new(memory, 39).unwrap();
        let given: Vec<_> = map
            .e820()
            .iter()
            .filter(|r| r.kind == E820Kind::Ram)
            .map(|r| r.start.0..r.start.0 + r.len)
            .collect();
        let planned: Vec<_> = plan::layout::ram(memory)
            .into_iter()
            .filter(|r| !r.is_empty())
            .collect();
        assert_eq!(planned, given, "{memory:#x}");
    }
}
