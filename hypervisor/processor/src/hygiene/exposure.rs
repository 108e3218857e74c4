//! What a processor is open to, named for the log.

/// One weakness that this processor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exposure {
    /// As the world calls it
    pub name: &'static str,
    /// What is done about it, or what would have to be
    pub mend: &'static str,
    /// Whether the actions of the policy keep VMs and hypervisor apart in spite of it
    pub handled: bool,
}

/// The most weaknesses that a processor can have.
const MAX: usize = 16;

/// All weaknesses of one processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exposures {
    list: [Option<Exposure>; MAX],
    len: usize,
}

impl Exposures {
    /// Each, worst known first.
    pub fn iter(&self) -> impl Iterator<Item = &Exposure> {
        self.list.iter().flatten()
    }

    /// The one of this name, if the processor has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Exposure> {
        self.iter().find(|it| it.name == name)
    }

    /// Whether none is left open.
    #[must_use]
    pub fn all_handled(&self) -> bool {
        self.iter().all(|it| it.handled)
    }

    pub(super) fn add(&mut self, name: &'static str, handled: bool, mend: &'static str) {
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = Some(Exposure {
                name,
                mend,
                handled,
            });
            self.len = self.len.saturating_add(1);
        }
    }
}
