//! A config text, judged as `boot` and the workstation judge it: a plan that its own text gives again, or a refusal that can be shown.

use plan::{Cores, Facts, Refusal};

const NAME: &str = "a.toml";

/// A file for each path: its size depends on the path, and some are missing.
fn size(path: &str) -> Option<u64> {
    match path.len() % 5 {
        0 => None,
        n => Some((n as u64 - 1) << 22),
    }
}

/// What is known beside the text: nothing, or a machine that is little, or one that is much.
const FACTS: [Facts<'_>; 3] = [
    Facts {
        memory: None,
        cores: None,
        files: None,
    },
    Facts {
        memory: Some(512 << 20),
        cores: Some(Cores {
            physical: 2,
            threads: 4,
        }),
        files: Some(&size),
    },
    Facts {
        memory: Some(1 << 40),
        cores: Some(Cores {
            physical: 64,
            threads: 128,
        }),
        files: None,
    },
];

/// Judges one text.
///
/// # Panics
/// If a refusal is not what can be shown on any console, or a plan does not come back from its own text.
pub fn one(data: &[u8]) {
    let facts = &FACTS[data.len() % FACTS.len()];
    match plan::text(data, NAME).and_then(|text| plan::parse(text, NAME, facts)) {
        Err(refusal) => shows(&refusal),
        Ok(plan) => {
            let text = plan.to_string();
            match plan::parse(&text, NAME, facts) {
                Ok(again) => assert_eq!(again, plan, "{text}"),
                Err(refusal) => panic!("{text}\n{}", refusal.render(false)),
            }
        }
    }
}

fn shows(refusal: &Refusal) {
    assert!(refusal.count() > 0);
    let text = refusal.render(false);
    for part in ["error: ", "help: ", "--> a.toml:"] {
        assert!(text.contains(part), "{text}");
    }
    let is_plain = |b| b == b'\n' || (b' '..=b'~').contains(&b);
    assert!(text.bytes().all(is_plain), "{text:?}");
    assert!(text.len() < 20_000, "{} bytes", text.len());
    assert!(!refusal.render(true).is_empty());
}
