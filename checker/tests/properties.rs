//! Machines that are as they should be pass, and whatever is changed in one is found, by the rule that it is for.

mod common;

use checker::{certify, check};
use common::faults::{self, Picks};
use common::{machine, shape};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_machine_that_is_as_it_should_be_is_certified(shape in shape()) {
        let (plan, whole) = machine(&shape);
        let found = check(&plan, &whole);
        prop_assert!(found.is_empty(), "{found:#?}");
        let certificate = certify("test", &plan, whole);
        prop_assert!(certificate.holds());
        prop_assert!(certificate.summary().contains("\ncertified: "));
        prop_assert!(certificate.page().ends_with("</html>"));
        prop_assert!(certificate.json().unwrap().contains("\"rule\": \"disjoint\""));
    }

    #[test]
    fn each_fault_is_found_by_its_rule(shape in shape(), picks in vec(any::<Index>(), 8)) {
        let (plan, right) = machine(&shape);
        for fault in faults::all() {
            let mut wrong = right.clone();
            if (fault.plant)(&mut wrong, &mut Picks(picks.clone())).is_some() {
                prop_assert!(wrong != right, "{} was not planted", fault.name);
                let found = check(&plan, &wrong);
                prop_assert!(found.iter().any(|finding| finding.rule == fault.rule), "{}: {found:#?}", fault.name);
            }
        }
    }
}

/// A fault that can be planted in no machine would be found in all.
#[test]
fn each_fault_can_be_planted() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut planted = std::collections::BTreeSet::new();
    for _ in 0..24 {
        let (_, right) = machine(&shape().new_tree(&mut runner).unwrap().current());
        let picks = vec(any::<Index>(), 8)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let possible = faults::all()
            .filter(|fault| (fault.plant)(&mut right.clone(), &mut Picks(picks.clone())).is_some());
        planted.extend(possible.map(|fault| fault.name));
    }
    for fault in faults::all() {
        assert!(planted.contains(fault.name), "{}", fault.name);
    }
}
