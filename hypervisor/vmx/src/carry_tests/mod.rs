mod controls;
mod events;

use crate::fake::MapVmcs;
use crate::fixture::{self, Processor, long_start, reader};
use crate::{AddressWidths, Capabilities, Carried, Posted, Vcpu, Wants, check};
use spec::{Hpa, Vector};
use std::string::{String, ToString};
use std::vec::Vec;

const SOFTWARE: Carried = Carried::Software {
    msr_bitmap: Hpa(0x30_0000),
};
const DIRECT: Carried = Carried::Direct {
    msr_bitmap: Hpa(0x30_3000),
};
const POSTED: Posted = Posted {
    descriptor: Hpa(0x40_1040),
    vector: Vector(0xf2),
};

const fn accelerated(posted: Option<Posted>) -> Carried {
    Carried::Accelerated {
        msr_bitmap: Hpa(0x30_4000),
        page: Hpa(0x40_0000),
        posted,
        requesting: 0x51,
        in_service: 0x40,
        eoi_exits: [0, 1 << 3, 2, 1 << 63],
    }
}

const ALL_WANTS: Wants = Wants {
    rdtscp: true,
    invpcid: true,
    xsaves: true,
    user_wait: true,
    save_timer: true,
};

fn processor(msrs: Processor) -> Capabilities {
    Capabilities::new(reader(msrs))
}

/// What a processor can carry.
fn carried_by(capabilities: &Capabilities) -> Vec<Carried> {
    let mut all = std::vec![SOFTWARE, DIRECT];
    if capabilities.has_accelerated_apic() {
        all.push(accelerated(None));
    }
    if capabilities.has_posted_interrupts() {
        all.push(accelerated(Some(POSTED)));
    }
    all
}

fn started(capabilities: &Capabilities, wants: &Wants) -> (MapVmcs, Vcpu) {
    fixture::started(capabilities, wants, &long_start())
}

fn broken(vmcs: &MapVmcs, capabilities: &Capabilities) -> Vec<String> {
    let widths = AddressWidths {
        physical: 39,
        linear: 48,
    };
    let mut found = Vec::new();
    check(vmcs, capabilities, widths, &mut |f| {
        found.push(f.to_string());
    });
    found
}

const NONE: [&str; 0] = [];
