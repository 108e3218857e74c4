//! The trace-event format ("Trace Event Format", JSON object form), which Perfetto and Chrome open: a process for each core with who
//! had it, and a process for each VM with what each of its vCPUs did.

use super::recording::Recording;
use super::timeline::{Core, Does, Doings, Holder, Mark, Slice, Timeline, Vcpu};
use anyhow::Result;
use proto::trace::Band;
use serde::Serialize;
use serde_json::{Value, json};
use spec::Ticks;

/// Processes of cores have the numbers from 1 on, for 0 is taken for the idle process; those of VMs the numbers behind this.
const VMS: u32 = 1000;
/// Tracks of a core.
const HOLDER: u32 = 1;
const HOST: u32 = 2;

/// A line of the file; times are in microseconds.
#[derive(Serialize)]
struct Line {
    ph: &'static str,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    /// An instant is one of its track
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    name: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// The file.
pub(super) fn json(recording: &Recording, timeline: &Timeline) -> Result<String> {
    let mut lines = Vec::new();
    for core in &timeline.cores {
        of_core(recording, core, &mut lines);
    }
    let mut named = None;
    for (vcpu, doings) in &timeline.vcpus {
        let pid = VMS + u32::from(vcpu.vm);
        if named != Some(vcpu.vm) {
            let name = recording.vm(vcpu.vm);
            lines.push(meta("process_name", pid, 0, json!({ "name": name })));
            lines.push(meta(
                "process_sort_index",
                pid,
                0,
                json!({ "sort_index": pid }),
            ));
            named = Some(vcpu.vm);
        }
        of_vcpu(recording, *vcpu, doings, &mut lines);
    }
    let about = json!({
        "tsc_hz": recording.tsc.0,
        "hypervisor_entered_tsc": recording.entered.0,
        "from_us": micros(recording.nanos(recording.from)),
        "until_us": micros(recording.nanos(recording.until)),
        "lost": recording.cores.iter().map(|ring| ring.lost).sum::<u64>(),
        "unknown": recording.cores.iter().map(|ring| ring.unknown).sum::<u64>(),
    });
    // A line an event: such files are compared, and read by people too.
    let lines: Result<Vec<String>, _> = lines.iter().map(serde_json::to_string).collect();
    Ok(format!(
        "{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":[\n{}\n]}}\n",
        lines?.join(",\n")
    ))
}

fn of_core(recording: &Recording, core: &Core, lines: &mut Vec<Line>) {
    let pid = core.number.saturating_add(1);
    let name = format!("core {}", core.number);
    lines.push(meta("process_name", pid, 0, json!({ "name": name })));
    lines.push(meta(
        "process_sort_index",
        pid,
        0,
        json!({ "sort_index": pid }),
    ));
    lines.push(meta(
        "thread_name",
        pid,
        HOLDER,
        json!({ "name": "has the core" }),
    ));
    for slice in &core.holders {
        let (cat, name, args) = match slice.what {
            Holder::Vcpu(vcpu, held) => (
                band(held),
                vcpu_name(recording, vcpu),
                json!({ "by": band(held) }),
            ),
            Holder::Idle => ("idle", "idle".to_owned(), Value::Null),
            Holder::Lost => ("lost", "lost".to_owned(), Value::Null),
        };
        lines.push(whole(recording, slice, (pid, HOLDER), cat, name, args));
    }
    if !core.host.is_empty() {
        lines.push(meta(
            "thread_name",
            pid,
            HOST,
            json!({ "name": "work of the hypervisor" }),
        ));
    }
    for slice in &core.host {
        let name = match slice.what {
            Some(vm) => format!("load {}", recording.vm(vm)),
            None => "host".to_owned(),
        };
        lines.push(whole(
            recording,
            slice,
            (pid, HOST),
            "host",
            name,
            Value::Null,
        ));
    }
}

fn of_vcpu(recording: &Recording, vcpu: Vcpu, doings: &Doings, lines: &mut Vec<Line>) {
    let track = (VMS + u32::from(vcpu.vm), u32::from(vcpu.vcpu) + 1);
    let name = format!("vCPU {}", vcpu.vcpu);
    lines.push(meta(
        "thread_name",
        track.0,
        track.1,
        json!({ "name": name }),
    ));
    for slice in &doings.states {
        let (cat, name) = match slice.what.does {
            Does::Run(held) => ("run", format!("runs: {}", band(held))),
            Does::Wait => ("wait", "waits".to_owned()),
            Does::Throttled => ("limit", "budget spent, or outside its windows".to_owned()),
        };
        let args = json!({ "core": slice.what.core });
        lines.push(whole(recording, slice, track, cat, name, args));
    }
    for (time, mark) in &doings.marks {
        let (name, args) = match mark {
            Mark::Wake => ("wake", Value::Null),
            Mark::Move(core) => ("move", json!({ "to": core })),
        };
        lines.push(Line {
            ph: "i",
            s: Some("t"),
            ts: Some(micros(recording.nanos(*time))),
            args,
            ..line(track, name.to_owned())
        });
    }
}

fn line((pid, tid): (u32, u32), name: String) -> Line {
    Line {
        ph: "",
        pid,
        tid,
        ts: None,
        dur: None,
        s: None,
        cat: None,
        name,
        args: Value::Null,
    }
}

fn meta(name: &str, pid: u32, tid: u32, args: Value) -> Line {
    Line {
        ph: "M",
        args,
        ..line((pid, tid), name.to_owned())
    }
}

fn whole<T>(
    recording: &Recording,
    slice: &Slice<T>,
    track: (u32, u32),
    cat: &'static str,
    name: String,
    args: Value,
) -> Line {
    let at = |time: Ticks| recording.nanos(time);
    Line {
        ph: "X",
        ts: Some(micros(at(slice.start))),
        // Of both ends, so that what follows begins where this ends.
        dur: Some(micros(at(slice.end) - at(slice.start))),
        cat: Some(cat),
        args,
        ..line(track, name)
    }
}

fn vcpu_name(recording: &Recording, vcpu: Vcpu) -> String {
    format!("{}/{}", recording.vm(vcpu.vm), vcpu.vcpu)
}

const fn band(band: Band) -> &'static str {
    match band {
        Band::Window => "window",
        Band::Reserved => "reservation",
        Band::LeftOver => "left over",
    }
}

/// Nanoseconds as microseconds; exact for a hundred days.
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}
