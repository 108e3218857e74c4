//! What a VM can reach: memory, ports, MSRs.

use crate::certificate::Certificate;
use crate::layers::end;
use crate::rules::controls::words;
use crate::rules::msrs;
use crate::subject::{addresses, frames};
use crate::text;
use maud::{Markup, html};
use proto::certificate::{Mapping, MsrGrant, Range, VcpuSurvey, VmSurvey};

pub(super) fn section(certificate: &Certificate, vm: &VmSurvey) -> Markup {
    let survey = &certificate.survey;
    let vcpus: Vec<_> = survey
        .vcpus
        .iter()
        .filter(|vcpu| vcpu.vm == vm.vm)
        .collect();
    let unstarted = survey.unstarted.iter().filter(|vcpu| vcpu.vm == vm.vm);
    html! {
        h2 { "VM " (vm.name) }
        h3 { "Memory" }
        (memory(&vm.nested, "Guest-physical"))
        h3 { "vCPUs" }
        table {
            tr { th { "vCPU" } th { "Core" } th { "Local APIC" } th { "VPID" } th { "EPT pointer" } th { "I/O ports without an exit" } }
            @for vcpu in &vcpus {
                tr {
                    td { (vcpu.vcpu) } td { (vcpu.core) } td { (vcpu.carrier) } td { (vcpu.vpid) }
                    td.address { (format!("{:#x}", vcpu.eptp)) }
                    td { (ports(&vcpu.ports)) }
                }
            }
            @for vcpu in unstarted { tr { td { (vcpu.vcpu) } td colspan="5" { "has not been started, and is not entered" } } }
        }
        @for (named, vcpu) in alike(&vcpus) {
            h3 { "MSRs without an exit, " (named) }
            (grants(&vcpu.msrs))
            details { summary { "Controls that are on, " (named) } (controls(vcpu)) }
        }
    }
}

/// Where addresses lead.
pub(super) fn memory(mappings: &[Mapping], addresses_are: &str) -> Markup {
    html! {
        table {
            tr { th { (addresses_are) } th { "Host-physical" } th { "Size" } th { "Rights" } th { "Type" } }
            @for mapping in mappings {
                tr {
                    td.address { (span(&addresses(mapping))) }
                    td.address { (span(&frames(mapping))) }
                    td.number { (text::size(mapping.len)) }
                    td.address { (text::rights(mapping.read, mapping.write, mapping.execute)) }
                    td { (text::cache(mapping.cache)) }
                }
            }
        }
    }
}

/// First and last byte.
pub(super) fn span(range: &Range) -> String {
    format!("{:#x} – {:#x}", range.start, end(range).saturating_sub(1))
}

fn ports(ports: &[(u16, u16)]) -> String {
    if ports.is_empty() {
        return "none".to_owned();
    }
    let ranges: Vec<String> = ports
        .iter()
        .map(|(first, last)| format!("{first:#x} – {last:#x}"))
        .collect();
    ranges.join(", ")
}

/// vCPUs in a row that may do the same, with a name for them: most VMs have but one kind.
fn alike<'a>(vcpus: &[&'a VcpuSurvey]) -> Vec<(String, &'a VcpuSurvey)> {
    let same = |a: &VcpuSurvey, b: &VcpuSurvey| {
        a.msrs == b.msrs && words(a).map(|it| it.1) == words(b).map(|it| it.1)
    };
    vcpus
        .chunk_by(|a, b| same(a, b))
        .filter_map(|row| {
            let (first, last) = (row.first()?, row.last()?);
            let named = if row.len() == 1 {
                format!("vCPU {}", first.vcpu)
            } else {
                format!("vCPUs {} to {}", first.vcpu, last.vcpu)
            };
            Some((named, *first))
        })
        .collect()
}

/// Grants, cut where the reasons change.
fn grants(grants: &[MsrGrant]) -> Markup {
    let allowed = msrs::allowed();
    html! {
        table {
            tr { th { "MSR" } th { "Name" } th { "May be" } th { "Why" } }
            @for grant in grants {
                @for piece in allowed.over(msrs::range(grant.first, grant.last)) {
                    tr {
                        td.address {
                            @if piece.range.len == 1 { (format!("{:#x}", piece.range.start)) } @else { (span(&piece.range)) }
                        }
                        @if let Some(row) = piece.of.first() {
                            td { (row.name) } td { (msrs::rights(grant)) } td { (row.why) }
                        } @else {
                            td {} td { (msrs::rights(grant)) } td.bad { "not among those that may be" }
                        }
                    }
                }
            }
        }
    }
}

fn controls(vcpu: &VcpuSurvey) -> Markup {
    html! {
        table {
            @for (name, value, bits) in words(vcpu) {
                tr {
                    td { (name) }
                    td.address { (format!("{value:#010x}")) }
                    td {
                        @let on: Vec<&str> = bits.iter().filter(|bit| value >> bit.bit & 1 != 0).map(|bit| bit.name).filter(|name| *name != "reserved").collect();
                        (on.join(", "))
                    }
                }
            }
        }
    }
}
