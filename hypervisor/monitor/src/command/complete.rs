//! How a command may go on.

use super::forms::{FORMS, Takes};
use super::settings;
use alloc::vec::Vec;

/// The words that the last one of a line, if only begun, may become. A line that ends in a space has begun an empty one.
pub(crate) fn complete<'a, N: AsRef<str>>(line: &str, names: &'a [N]) -> (usize, Vec<&'a str>) {
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let begun = if line.ends_with(' ') {
        ""
    } else {
        words.pop().unwrap_or("")
    };
    let mut words = words.as_slice();
    let mut of_help = false;
    if let ["help", rest @ ..] = words {
        of_help = true;
        words = rest;
    }
    let of_vm = words.first() == Some(&"vm");
    if of_vm {
        words = words.get(1..).unwrap_or_default();
    }
    let verbs = FORMS.iter().filter(|form| form.of_vm || !of_vm);
    let mut found: Vec<&'a str> = match words {
        // With nothing to go by, the long forms are enough.
        [] => verbs
            .filter(|form| of_vm || !form.of_vm || !begun.is_empty())
            .map(|form| form.verb)
            .chain((!of_vm).then_some("vm"))
            .collect(),
        [verb] if !of_help => {
            let form = verbs.into_iter().find(|form| form.verb == *verb);
            match form.map(|form| &form.takes) {
                Some(Takes::Vm(_) | Takes::Settings) => names.iter().map(AsRef::as_ref).collect(),
                _ => Vec::new(),
            }
        }
        [verb, _, given @ ..] if !of_help => {
            let form = verbs.into_iter().find(|form| form.verb == *verb);
            match form.map(|form| &form.takes) {
                Some(Takes::Settings) => settings::beginnings(given).collect(),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    found.retain(|word| word.starts_with(begun));
    (begun.len(), found)
}

/// How all of these begin, in bytes.
pub(crate) fn common(words: &[&str]) -> usize {
    let Some((first, rest)) = words.split_first() else {
        return 0;
    };
    rest.iter()
        .map(|word| {
            let pairs = first.bytes().zip(word.bytes());
            pairs.take_while(|(a, b)| a == b).count()
        })
        .min()
        .unwrap_or(first.len())
}
