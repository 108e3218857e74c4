//! What `vm set` is given: `weight=200`, `budget=200us`, `period=1ms`.

use super::shown;
use crate::nearest::nearest;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use proto::Command;

/// What can be set, with an example of each.
const KEYS: [(&str, &str); 3] = [("weight", "200"), ("budget", "200us"), ("period", "1ms")];

/// The word that takes a thing away.
const NONE: &str = "none";

/// How each setting begins, but for those that a line has.
pub(super) fn beginnings<'a>(line: &'a [&'a str]) -> impl Iterator<Item = &'static str> + 'a {
    let begun = |key: &str| line.iter().any(|word| word.starts_with(key));
    ["weight=", "budget=", "period="]
        .into_iter()
        .filter(move |key| !begun(key))
}

/// Understands the settings of a VM. `full` are the words of the command, for refusals.
pub(super) fn parse<'a>(
    full: &str,
    vm: String,
    words: impl Iterator<Item = &'a str>,
) -> Result<Command, String> {
    let (mut weight, mut budget, mut period) = (None, None, None);
    for word in words {
        let (key, value) = split(word)?;
        let twice = match key {
            "weight" => weight.replace(number(value)?).is_some(),
            "budget" => budget.replace(time(key, value)?).is_some(),
            _ => period.replace(time(key, value)?).is_some(),
        };
        if twice {
            return Err(format!("`{key}` is given twice: give it once."));
        }
    }
    if (weight, budget, period) == (None, None, None) {
        return Err(format!(
            "`{full} {vm}` needs to know what: `weight=200`, or `budget=200us period=1ms`, or one of them."
        ));
    }
    if budget == Some(0) && period.is_some() {
        return Err(
            "`budget=none` takes the reservation away: leave `period` out beside it.".to_owned(),
        );
    }
    Ok(Command::Set {
        vm,
        weight,
        budget,
        period,
    })
}

/// A word as a key that there is, and its value.
fn split(word: &str) -> Result<(&'static str, &str), String> {
    let (name, value) = word
        .split_once('=')
        .map_or((word, None), |(name, value)| (name, Some(value)));
    let Some((key, example)) = KEYS.iter().find(|(key, _)| *key == name) else {
        return Err(match nearest(name, KEYS.iter().map(|(key, _)| *key)) {
            Some(right) => format!(
                "There is no setting `{}`; did you mean `{right}`?",
                shown(name)
            ),
            None => format!(
                "There is no setting `{}`: there are `weight`, `budget` and `period`.",
                shown(name)
            ),
        });
    };
    match value {
        Some(value) if !value.is_empty() => Ok((key, value)),
        _ => Err(format!(
            "`{key}` needs a value right behind it, such as `{key}={example}`."
        )),
    }
}

/// A weight, zero for none.
fn number(value: &str) -> Result<u32, String> {
    let digits = value.bytes().all(|c| c.is_ascii_digit());
    match value.parse() {
        _ if value == NONE => Ok(0),
        Ok(weight @ 1..) if digits => Ok(weight),
        _ => Err(format!(
            "`weight={}` is no weight: use a whole number such as `weight=200`, or `weight=none`.",
            shown(value)
        )),
    }
}

/// A time in nanoseconds, zero for none.
fn time(key: &str, value: &str) -> Result<u64, String> {
    match (key, spec::Nanos::parse(value).map(|nanos| nanos.0)) {
        (_, Some(nanos @ 1..)) => Ok(nanos),
        ("budget", _) if value == NONE => Ok(0),
        ("budget", _) => Err(format!(
            "`budget={}` is no time: use a whole number of ns, us, ms or s such as `budget=200us`, or `budget=none`.",
            shown(value)
        )),
        (_, _) if value == NONE => {
            Err("There is no reservation without a period: `budget=none` takes it away.".to_owned())
        }
        _ => Err(format!(
            "`{key}={}` is no time: use a whole number of ns, us, ms or s such as `{key}=1ms`.",
            shown(value)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, complete, parse};
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    const NAMES: [&str; 2] = ["debian", "control"];

    fn asked(line: &str) -> Result<Asked, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        parse(&words, &NAMES)
    }

    fn set(weight: Option<u32>, budget: Option<u64>, period: Option<u64>) -> Result<Asked, String> {
        let vm = "debian".to_string();
        Ok(Asked::Machine(Command::Set {
            vm,
            weight,
            budget,
            period,
        }))
    }

    fn refused(line: &str) -> String {
        let refusal = asked(line).unwrap_err();
        assert!(refusal.ends_with(['.', '?']), "a full sentence: {refusal}");
        refusal
    }

    #[test]
    fn settings_are_understood_in_any_order() {
        let both = set(None, Some(200_000), Some(1_000_000));
        assert_eq!(asked("vm set debian budget=200us period=1ms"), both);
        assert_eq!(asked("set debian period=1ms budget=200us"), both);
        assert_eq!(asked("set debian weight=200"), set(Some(200), None, None));
        assert_eq!(asked("set debian weight=none"), set(Some(0), None, None));
        assert_eq!(asked("set debian budget=none"), set(None, Some(0), None));
        let all = set(Some(1), Some(999), Some(2_000_000_000));
        assert_eq!(asked("set debian weight=1 budget=999ns period=2s"), all);
    }

    #[test]
    fn refusals_say_what_would_be_right() {
        for (line, refusal) in [
            (
                "vm set debian",
                "`vm set debian` needs to know what: `weight=200`, or `budget=200us period=1ms`, or one of them.",
            ),
            (
                "vm set",
                "`vm set` needs the name of a VM, such as `vm set debian`.",
            ),
            (
                "set debain weight=1",
                "There is no VM `debain`; did you mean `debian`?",
            ),
            (
                "set debian wieght=200",
                "There is no setting `wieght`; did you mean `weight`?",
            ),
            (
                "set debian cores=2",
                "There is no setting `cores`: there are `weight`, `budget` and `period`.",
            ),
            (
                "set debian weight 200",
                "`weight` needs a value right behind it, such as `weight=200`.",
            ),
            (
                "set debian budget= 1ms",
                "`budget` needs a value right behind it, such as `budget=200us`.",
            ),
            (
                "set debian weight=1 weight=2",
                "`weight` is given twice: give it once.",
            ),
            (
                "set debian weight=0",
                "`weight=0` is no weight: use a whole number such as `weight=200`, or `weight=none`.",
            ),
            (
                "set debian budget=200",
                "`budget=200` is no time: use a whole number of ns, us, ms or s such as `budget=200us`, or `budget=none`.",
            ),
            (
                "set debian period=0ms",
                "`period=0ms` is no time: use a whole number of ns, us, ms or s such as `period=1ms`.",
            ),
            (
                "set debian period=none",
                "There is no reservation without a period: `budget=none` takes it away.",
            ),
            (
                "set debian budget=none period=1ms",
                "`budget=none` takes the reservation away: leave `period` out beside it.",
            ),
        ] {
            assert_eq!(refused(line), refusal, "{line}");
        }
        for value in ["-1", "+1", "1.5", "4294967296", "1e3", "\u{661}"] {
            refused(&format!("set debian weight={value}"));
        }
        for value in [
            "us",
            "-1us",
            "1.5ms",
            "1 ms",
            "1m",
            "1US",
            "99999999999999999999s",
            "99999999999s",
        ] {
            refused(&format!("set debian period={value}"));
        }
    }

    #[test]
    fn a_refusal_repeats_nothing_that_a_terminal_acts_on() {
        let long = "x".repeat(10_000);
        for word in ["weight=\x1b[2J", "\x1b[2J=1", "period=\x07", &long] {
            let refusal = parse(&["set", "debian", word], &NAMES).unwrap_err();
            assert!(!refusal.contains(char::is_control), "{refusal}");
            assert!(refusal.len() < 300);
        }
    }

    #[test]
    fn completion_offers_the_settings_that_are_left() {
        assert_eq!(complete("vm set c", &NAMES), (1, vec!["control"]));
        assert_eq!(
            complete("set debian ", &NAMES),
            (0, vec!["weight=", "budget=", "period="])
        );
        assert_eq!(complete("set debian b", &NAMES), (1, vec!["budget="]));
        assert_eq!(
            complete("vm set debian budget=1ms ", &NAMES),
            (0, vec!["weight=", "period="])
        );
        assert_eq!(complete("vm set debian budget=1ms b", &NAMES), (1, vec![]));
    }
}
