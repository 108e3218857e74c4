//! The logical processors, by the firmware's MP services (PI 1.8, volume 2, section 13.4).

use alloc::vec;
use alloc::vec::Vec;
use plan::bundle::Core;
use raw_cpuid::CpuId;
use uefi::boot;
use uefi::proto::pi::mp::MpServices;

/// All processors that the firmware knows, the one that we run on first; that one alone where it has no MP services.
pub fn all() -> Vec<Core> {
    known().unwrap_or_else(|| vec![this()])
}

fn known() -> Option<Vec<Core>> {
    let handle = boot::get_handle_for_protocol::<MpServices>().ok()?;
    let mp = crate::protocol::get::<MpServices>(handle).ok()?;
    let total = mp.get_number_of_processors().ok()?.total;
    let mut cores = Vec::with_capacity(total);
    let mut first = 0;
    for number in 0..total {
        let Ok(info) = mp.get_processor_info(number) else {
            continue;
        };
        // Wider ids do not exist: x2APIC ids have 32 bits (SDM vol. 3, "x2APIC Register Address Space").
        let Ok(apic_id) = u32::try_from(info.processor_id) else {
            continue;
        };
        if info.is_bsp() {
            first = cores.len();
        }
        cores.push(Core {
            apic_id,
            package: info.location.package,
            core: info.location.core,
            thread: info.location.thread,
            usable: info.is_enabled() && info.is_healthy(),
        });
    }
    if cores.is_empty() {
        return None;
    }
    cores[..=first].rotate_right(1);
    Some(cores)
}

/// The processor that we run on, by CPUID alone.
fn this() -> Core {
    let cpuid = CpuId::new();
    let extended = cpuid
        .get_extended_topology_info()
        .and_then(|mut levels| levels.next())
        .map(|level| level.x2apic_id());
    let initial = || {
        cpuid
            .get_feature_info()
            .map_or(0, |f| u32::from(f.initial_local_apic_id()))
    };
    Core {
        apic_id: extended.unwrap_or_else(initial),
        package: 0,
        core: 0,
        thread: 0,
        usable: true,
    }
}
