//! The commands, as data.

use alloc::format;
use alloc::string::String;
use proto::Command;

/// A command.
pub(crate) struct Form {
    /// Whether `vm` stands before it, or may
    pub(crate) of_vm: bool,
    /// Its own word
    pub(crate) verb: &'static str,
    /// What follows, and what it makes
    pub(crate) takes: Takes,
    /// What it does, in a few words
    pub(crate) does: &'static str,
    /// What else is to know
    pub(crate) more: &'static str,
}

/// What follows the word of a command.
pub(crate) enum Takes {
    /// Nothing
    Nothing(Command),
    /// The name of a VM
    Vm(fn(String) -> Command),
    /// The name of a VM and settings of it: this is `set`
    Settings,
    /// A command, or nothing: this is `help`
    Command,
}

impl Form {
    /// Its words.
    pub(crate) fn full(&self) -> String {
        let vm = if self.of_vm { "vm " } else { "" };
        format!("{vm}{}", self.verb)
    }

    /// Its words and what follows them.
    pub(crate) fn usage(&self) -> String {
        let what = match self.takes {
            Takes::Nothing(_) => "",
            Takes::Vm(_) => " NAME",
            Takes::Settings => " NAME KEY=VALUE...",
            Takes::Command => " [COMMAND]",
        };
        format!("{}{what}", self.full())
    }
}

/// All of them, in the order of the help.
pub(crate) static FORMS: &[Form] = &[
    Form {
        of_vm: true,
        verb: "list",
        takes: Takes::Nothing(Command::List),
        does: "list the VMs",
        more: "EXITS are those since the VM's last start, EXITS/S their mean for a second of its uptime, and IN ROOT the part of its \
               vCPUs' time that they took.",
    },
    Form {
        of_vm: true,
        verb: "start",
        takes: Takes::Vm(|vm| Command::Start { vm }),
        does: "start a VM that is off",
        more: "Its memory is cleared and its files are loaded anew.",
    },
    Form {
        of_vm: true,
        verb: "stop",
        takes: Takes::Vm(|vm| Command::Stop { vm }),
        does: "stop a VM at once",
        more: "It is as if its power were cut: to have it shut down in order, ask it on its own console.",
    },
    Form {
        of_vm: true,
        verb: "pause",
        takes: Takes::Vm(|vm| Command::Pause { vm }),
        does: "hold a VM where it is",
        more: "Its time goes on meanwhile, as the time-stamp counter does.",
    },
    Form {
        of_vm: true,
        verb: "resume",
        takes: Takes::Vm(|vm| Command::Resume { vm }),
        does: "let a paused VM go on",
        more: "",
    },
    Form {
        of_vm: true,
        verb: "reset",
        takes: Takes::Vm(|vm| Command::Reset { vm }),
        does: "start a running VM anew",
        more: "It is as if its reset button were pressed: its memory is cleared and its files are loaded anew.",
    },
    Form {
        of_vm: true,
        verb: "stats",
        takes: Takes::Vm(|vm| Command::Statistics { vm }),
        does: "show a VM's exits and what they cost",
        more: "For each vCPU what carries its local APIC, how long ago its last exit was, and what became of a promise to make none. For \
               each kind of exit: how many, the ticks that they kept the core from the guest, and how many took how long, in powers of two.",
    },
    Form {
        of_vm: true,
        verb: "set",
        takes: Takes::Settings,
        does: "change a VM's share of the pool's cores",
        more: "weight=200 is its part of what is left over, weight=none none of it. budget=200us period=1ms is what each of its vCPUs gets \
               in each period, and without a weight its limit; budget=none takes that away. What does not fit is refused.",
    },
    Form {
        of_vm: false,
        verb: "top",
        takes: Takes::Nothing(Command::Times),
        does: "show who has had the cores since the last `top`",
        more: "RUN, WAIT, LIMIT and IDLE are the parts of that time in which a vCPU had a core, waited for one, had spent its budget or \
               was outside its windows, had nothing to do; TURNS/S how often it was given a core. WAITED and LATE are the longest since the start of the \
               machine: for a core, and from when its window or its period began. MISSED are periods without their budget.",
    },
    Form {
        of_vm: false,
        verb: "cores",
        takes: Takes::Nothing(Command::Cores),
        does: "list the cores and what they run",
        more: "",
    },
    Form {
        of_vm: false,
        verb: "off",
        takes: Takes::Nothing(Command::Off),
        does: "power the machine off",
        more: "VMs that run are stopped at once.",
    },
    Form {
        of_vm: false,
        verb: "help",
        takes: Takes::Command,
        does: "list the commands, or say more about one",
        more: "",
    },
];
