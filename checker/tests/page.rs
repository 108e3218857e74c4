//! The page and the summary of two machines, word for word. After a wanted change: `UPDATE_GOLDEN=1 cargo test -p checker --test page`,
//! and a look at what has changed.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use checker::certify;
use common::faults::{self, Picks};
use common::{Shape, VmShape, machine};
use std::path::Path;

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{} is not what is made now:\n{text}",
        path.display()
    );
}

fn two() -> Shape {
    let vm = |memory, vcpus, own, carrier| VmShape {
        memory,
        vcpus,
        own,
        carrier,
        cut: 4,
    };
    Shape {
        vms: vec![vm(8, 2, true, 2), vm(64, 2, false, 1)],
        sleeper: true,
        old: false,
    }
}

#[test]
fn a_machine_that_is_as_it_should_be_is_shown_so() {
    let (plan, whole) = machine(&two());
    let certificate = certify("two.toml", &plan, whole);
    compare("certified.html", &certificate.page());
    compare("certified.txt", &certificate.summary());
}

#[test]
fn findings_are_shown_with_their_places() {
    let (plan, mut whole) = machine(&two());
    for planted in [
        "a page of another VM",
        "a port",
        "an MSR too many",
        "a frame that is lost",
    ] {
        let fault = faults::all().find(|fault| fault.name == planted).unwrap();
        (fault.plant)(&mut whole, &mut Picks::first()).unwrap();
    }
    let certificate = certify("two.toml", &plan, whole);
    compare("refused.html", &certificate.page());
    compare("refused.txt", &certificate.summary());
}
