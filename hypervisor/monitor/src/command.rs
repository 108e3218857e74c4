//! What is typed, as a [`proto::Command`] or a refusal in a full sentence.

mod complete;
mod forms;
mod help;
mod settings;

pub(crate) use complete::{common, complete};
pub use help::help;

use crate::nearest::nearest;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use forms::{FORMS, Form, Takes};
use proto::Command;

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Something for the machine
    Machine(Command),
    /// Help; this is its text
    Help(String),
}

/// Understands a command given in words, such as `["vm", "start", "debian"]`. `names` are those of the VMs; without any, each name is
/// taken for right.
///
/// # Errors
/// The refusal: a full sentence that says what is wrong and what would be right.
pub fn parse<W: AsRef<str>, N: AsRef<str>>(words: &[W], names: &[N]) -> Result<Asked, String> {
    let mut words = words.iter().map(AsRef::as_ref).peekable();
    let of_vm = words.next_if_eq(&"vm").is_some();
    let Some(verb) = words.next() else {
        return Err(if of_vm {
            "`vm` needs to know what to do: `vm list`, or as `help` says.".to_owned()
        } else {
            "Nothing was asked: `help` lists the commands.".to_owned()
        });
    };
    let form = form(verb, of_vm)?;
    let asked = match &form.takes {
        Takes::Nothing(command) => Asked::Machine(command.clone()),
        Takes::Vm(make) => Asked::Machine(make(name(form, words.next(), names)?)),
        Takes::Settings => {
            let vm = name(form, words.next(), names)?;
            Asked::Machine(settings::parse(&form.full(), vm, words.by_ref())?)
        }
        Takes::Command => Asked::Help(match words.next() {
            None => help(),
            Some("vm") => match words.next() {
                None => help(),
                Some(verb) => help::of(self::form(verb, true)?),
            },
            Some(verb) => help::of(self::form(verb, false)?),
        }),
    };
    match words.next() {
        None => Ok(asked),
        Some(more) => Err(format!(
            "`{}` is complete before `{}`: leave that out.",
            form.usage(),
            shown(more)
        )),
    }
}

/// The form that a verb means.
fn form(verb: &str, of_vm: bool) -> Result<&'static Form, String> {
    let fits = |form: &&Form| form.of_vm || !of_vm;
    if let Some(form) = FORMS.iter().filter(fits).find(|form| form.verb == verb) {
        return Ok(form);
    }
    let vm = if of_vm { "vm " } else { "" };
    let verbs = FORMS.iter().filter(fits).map(|form| form.verb);
    Err(match nearest(verb, verbs) {
        Some(right) => format!(
            "There is no command `{vm}{}`; did you mean `{vm}{right}`?",
            shown(verb)
        ),
        None => format!(
            "There is no command `{vm}{}`: `help` lists the commands.",
            shown(verb)
        ),
    })
}

/// The name of a VM.
fn name<N: AsRef<str>>(form: &Form, word: Option<&str>, names: &[N]) -> Result<String, String> {
    let names = || names.iter().map(AsRef::as_ref);
    let Some(word) = word else {
        return Err(match names().next() {
            Some(name) => format!(
                "`{}` needs the name of a VM, such as `{} {name}`.",
                form.full(),
                form.full()
            ),
            None => format!(
                "`{}` needs the name of a VM: `vm list` shows them.",
                form.full()
            ),
        });
    };
    if names().next().is_none() || names().any(|name| name == word) {
        return Ok(word.to_owned());
    }
    Err(match nearest(word, names()) {
        Some(right) => format!("There is no VM `{}`; did you mean `{right}`?", shown(word)),
        None => format!("There is no VM `{}`: `vm list` shows them.", shown(word)),
    })
}

/// A word as it may be shown again: not for ever, and nothing that a terminal would act on.
fn shown(word: &str) -> String {
    word.chars().take(40).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests;
