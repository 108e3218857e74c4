//! The hypervisor's own side.

use super::vm::{memory, span};
use crate::certificate::Certificate;
use crate::text::size;
use maud::{Markup, html};

pub(super) fn section(certificate: &Certificate) -> Markup {
    let host = &certificate.survey.host;
    html! {
        h2 { "The hypervisor" }
        h3 { "Cores" }
        table {
            tr { th { "Core" } th { "APIC id" } th { "CR0" } th { "CR3" } th { "CR4" } th { "EFER" } th { "VMXON region" } }
            @for core in &host.cores {
                tr {
                    td { (core.number) } td { (core.apic_id) }
                    @for value in [core.cr0, core.cr3, core.cr4, core.efer, core.vmxon] { td.address { (format!("{value:#x}")) } }
                }
            }
        }
        h3 { "Devices" }
        table {
            tr { th { "Device" } th { "Host-physical" } th { "Size" } }
            @for device in &host.devices {
                tr { td { (device.name) } td.address { (span(&device.range)) } td.number { (size(device.range.len)) } }
            }
        }
        h3 { "Its own tables" }
        p { "All physical memory is mapped from " code { (format!("{:#x}", host.window)) } " on." }
        details { summary { "What they map" } (memory(&host.host, "Linear")) }
        details { summary { "What the tables for calls of the firmware map beside" } (memory(&host.firmware, "Linear")) }
    }
}
