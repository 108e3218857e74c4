//! Each kind of refusal against its golden text.
//!
//! `refusals/NAME.toml` is a bad config; its refusal must be `refusals/NAME.txt`, to the byte. A first line such as
//! `# files: debian/vmlinuz=14155776 debian/initrd.img=0` `# memory: 503316480` or `# cores: 4 8` (cores and threads) gives what is known beside
//! the text. `UPDATE_GOLDEN=1 cargo test -p plan` writes the texts anew.

use plan::{Cores, Facts, Refusal};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What `boot` calls the file.
const FILE: &str = r"\bulkhead\bulkhead.toml";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals")
}

/// The words after `# WHAT:` at the head of the file.
fn facts_in<'t>(text: &'t str, what: &str) -> Option<Vec<&'t str>> {
    let lines = text.lines().take_while(|line| line.starts_with('#'));
    let mut found = lines.filter_map(|line| {
        line.strip_prefix("# ")?
            .strip_prefix(what)?
            .strip_prefix(':')
    });
    found.next().map(|words| words.split_whitespace().collect())
}

fn refuse(bytes: &[u8]) -> Result<plan::Plan, Refusal> {
    let text = plan::text(bytes, FILE)?;
    let files: Option<BTreeMap<&str, u64>> = facts_in(text, "files").map(|files| {
        files
            .into_iter()
            .map(|file| file.split_once('=').expect("PATH=SIZE"))
            .map(|(path, size)| (path, size.parse().expect("a size in bytes")))
            .collect()
    });
    let size_of = files.map(|files| move |path: &str| files.get(path).copied());
    let facts = Facts {
        memory: facts_in(text, "memory").map(|words| words[0].parse().expect("bytes")),
        cores: facts_in(text, "cores").map(|words| Cores {
            physical: words[0].parse().expect("a number"),
            threads: words[1].parse().expect("a number"),
        }),
        files: size_of.as_ref().map(|size_of| size_of as _),
    };
    plan::parse(text, FILE, &facts)
}

#[test]
fn each_refusal_reads_as_its_golden_text() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut configs: Vec<_> = fs::read_dir(folder())
        .expect("the folder of golden texts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    configs.sort();
    assert!(configs.len() > 30, "golden texts are missing");
    let mut wrong = Vec::new();
    for config in configs {
        let refused = match refuse(&fs::read(&config).expect("readable")) {
            Ok(plan) => {
                wrong.push(format!("{}: not refused: {plan:?}", config.display()));
                continue;
            }
            Err(refusal) => refusal.render(false),
        };
        assert!(
            refused
                .bytes()
                .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
            "{refused}"
        );
        let golden = config.with_extension("txt");
        if update {
            fs::write(&golden, &refused).expect("writable");
        } else if fs::read_to_string(&golden).unwrap_or_default() != refused {
            wrong.push(format!("{}: now reads\n{refused}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_golden_text_has_its_config() {
    for entry in fs::read_dir(folder()).expect("the folder of golden texts") {
        let path = entry.expect("an entry").path();
        assert!(
            path.with_extension("toml").exists(),
            "{} is left over",
            path.display()
        );
        assert!(
            path.with_extension("txt").exists(),
            "{} has no golden text",
            path.display()
        );
    }
}

/// The configs in CONFIG.md are right, and so is the least one that a refusal shows.
#[test]
fn what_is_shown_as_right_is_right() {
    let manual = include_str!("../CONFIG.md");
    let examples = manual.split("```toml\n").skip(1).map(|rest| {
        let (example, _) = rest.split_once("```").expect("its end");
        refuse(example.as_bytes()).expect("the manual's example")
    });
    let [one, crashes, two, three, four] = examples.collect::<Vec<_>>().try_into().expect("five");
    assert_eq!(one.vms[0].cmdline, "console=ttyS0");
    assert_eq!(one.vms[0].memory, 256 << 20);
    // As its comments say.
    let recovery = crashes.vms[0].recovery;
    assert_eq!((recovery.restarts, recovery.delay), (10, 10_000_000));
    assert_eq!(crashes.vms[0].watchdog, Some(500_000_000));
    assert_eq!(two.place(4), [vec![3], vec![0, 1]]);
    assert_eq!(three.place(4), [vec![1], vec![1]]);
    assert_eq!(
        four.vms[0].exits,
        plan::Exits::None {
            boot: 5_000_000_000
        }
    );

    let refusal = refuse(b"").expect_err("no VM").render(false);
    let (_, least) = refusal.split_once("help: ").expect("a mend");
    let least: Vec<_> = least.lines().skip(1).map(str::trim).collect();
    refuse(least.join("\n").as_bytes()).expect("the least config");
}
