//! Machines that are as they should be pass, and whatever is changed in one is found, by the rule that it is for.

mod common;

use checker::{certify, check};
use common::{machine, shape};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_machine_that_is_as_it_should_be_is_certified(shape in shape()) {
        let (plan, whole) = machine(&shape);
        let found = check(&plan, &whole);
        prop_assert!(found.is_empty(), "{found:#?}");
        let certificate = certify("test", &plan, whole);
        prop_assert!(certificate.holds());
        prop_assert!(certificate.summary().contains("certified: "));
        prop_assert!(certificate.page().ends_with("</html>"));
        let json = certificate.json().unwrap();
        prop_assert!(json.contains("\"rule\": \"disjoint\""));
    }
}
