//! Texts that are made to hurt: judged in little stack and in little time.

use plan::{Cores, Facts, MAX_TEXT};
use std::time::{Duration, Instant};

/// Least stack of a UEFI application (UEFI 2.10, section 2.3.4); test builds use several times as much of it as
/// release builds.
const STACK: usize = if cfg!(debug_assertions) { 8 } else { 1 } * (128 << 10);

/// As many of `piece` between `head` and `tail` as a text may hold.
fn filled(head: &str, piece: &str, tail: &str) -> String {
    let count = (MAX_TEXT - head.len() - tail.len()) / piece.len();
    format!("{head}{}{tail}", piece.repeat(count))
}

const VM: &str = "kernel=\"k\"\nmemory=\"2 MiB\"\n";

/// A VM, and a table that waits for its windows.
fn table(core: &str) -> String {
    format!("[[vm]]\nname=\"a\"\n{VM}[[cyclic]]\ncore={core}\nframe=\"10 s\"\n")
}

/// As many reservations as there can be, most of them tiny, of periods without a common divisor, and more than there are cores for.
fn reservations() -> String {
    let vm = |n: u32, budget: u32| {
        let period = 9_999_999_999u64 - u64::from(n) * 2;
        format!(
            "[[vm]]\nname=\"v{n}\"\n{VM}vcpus=64\nbudget=\"{budget} us\"\nperiod=\"{period} ns\"\n"
        )
    };
    let tiny: String = (0..61).map(|n| vm(n, 10)).collect();
    // Half of a core each, which are tried first.
    tiny + &vm(61, 5_000_000)
}

#[test]
fn hostile_texts_are_refused_in_little_stack_and_time() {
    let many_keys: String = (10_000..15_000).map(|n| format!("k{n} = 1\n")).collect();
    let texts = [
        filled("", "[", ""),
        filled("", "a.", ""),
        filled("", "a.", "a=1"),
        filled("x=", "[", "]"),
        filled("x=", "{a=", "1}"),
        filled("", "[a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a]\n", ""),
        filled("", "[[vm]]\n", ""),
        filled("", "[[vm]]\nname=\"a\"\n", ""),
        filled("", "\u{1}", ""),
        filled("", "\u{1}\n", ""),
        filled("", "=\n", ""),
        filled("", "\"", ""),
        filled("", "\n", ""),
        filled("", "\r", ""),
        filled("", "\u{301}", ""),
        filled("[[vm]]\ncmdline=\"", "\u{301}", "\""),
        filled("[[vm]]\ncmdline=\"", "\t", "\""),
        filled("[[vm]]\nkernel=\"", "/", "\""),
        filled("[[vm]]\nkernel=\"", "\\\\", "\""),
        filled("[[vm]]\nformat=\"flat\"\nload=\"", "0", "\""),
        filled("[[vm]]\nmemory=\"", "9", "\""),
        filled("[[vm]]\nmemory=\"0.", "1", " TiB\""),
        filled("[[vm]]\nmemory=", "9", ""),
        filled("[[vm]]\n", "m", "=1"),
        filled("[[vm]]\n", " ", "memory=1"),
        filled("[[vm]]\nname=1", "\n", "\n[[vm]]\nname=1"),
        filled("[[vm]]\ncores=[", "1,", "]"),
        filled("[[vm]]\nmodules=[", "{},", "]"),
        filled("", "[[vm]]\ncores=[1]\n", ""),
        filled("[[vm]]\nbudget=\"", "9", " us\""),
        filled("[[vm]]\nbudget=\"0.", "1", " s\""),
        filled("[[cyclic]]\nwindows=[", "{},", "]"),
        filled("", "[[cyclic]]\n", ""),
        filled(
            "[[vm]]\nname=\"a\"\n",
            "[[cyclic.windows]]\nvm=\"a\"\nat=\"0 s\"\nlength=\"1 s\"\n",
            "",
        ),
        filled(
            &table("0"),
            "[[cyclic.windows]]\nvm=\"a\"\nat=\"0 s\"\nlength=\"1 s\"\n",
            "",
        ),
        filled(
            &table("0"),
            "[[cyclic.windows]]\nvm=\"b\"\nvcpu=9\nat=\"1 s\"\nlength=\"10 us\"\n",
            "",
        ),
        many_keys,
        reservations(),
    ];
    for text in texts {
        assert!(text.len() <= MAX_TEXT);
        let head: String = text.chars().take(40).collect();
        let began = Instant::now();
        let judge = move || {
            let facts = Facts {
                cores: Some(Cores {
                    physical: 3,
                    threads: 3,
                }),
                ..Facts::default()
            };
            plan::parse(&text, "a.toml", &facts).map_err(|refusal| refusal.render(false))
        };
        let judged = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(judge)
            .expect("a thread")
            .join();
        let refused = judged.expect("no panic").expect_err("refused");
        assert!(refused.len() < 20_000, "{head:?}: {} bytes", refused.len());
        // Seen: a fifth of a second for the slowest, in a test build.
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{head:?}: {:?}",
            began.elapsed()
        );
    }
}

#[test]
fn a_file_that_is_too_long_is_refused_unread() {
    for text in [vec![b' '; MAX_TEXT + 1], vec![0xff; MAX_TEXT + 1]] {
        let refusal = plan::text(&text, "a.toml").expect_err("too long");
        assert_eq!(refusal.count(), 1);
        assert!(
            refusal.render(false).contains("longer than 65536 bytes"),
            "{refusal}"
        );
    }
    let text = " ".repeat(MAX_TEXT + 1);
    assert!(
        plan::parse(&text, "a.toml", &Facts::default())
            .expect_err("too long")
            .render(false)
            .contains("longer than 65536 bytes")
    );
    assert!(plan::text(&[b' '; MAX_TEXT], "a.toml").is_ok());
}
