//! How a VM gets its kernel: in small pieces, each a part of its first vCPU's turns on its core, so that no neighbour waits for it.

use crate::guest::Guest;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use plan::bundle::Bundle;
use ram::guest::{GuestRam, Scrub};
use seam::{AccessError, GuestMem};
use spec::state::StartState;
use spec::{Gpa, Ticks};
use spin::Mutex;

/// Bytes of guest memory that are zeroed, and that are written, between two looks at what else the core has to do: some 4,000 ticks.
const ZEROED: u64 = 32 << 10;
const WRITTEN: usize = 8 << 10;

/// A VM that is being loaded.
pub(crate) struct Loading {
    /// When that may begin
    pub(crate) not_before: Ticks,
    /// When it did
    pub(crate) begun: Ticks,
    /// Its chips are as after power-on
    reset: bool,
    /// How much of its memory is free of what was there before
    scrub: Scrub,
    /// What comes then, once it is known
    list: Option<List>,
}

/// What is to be written into a VM's memory, and where its first vCPU starts then.
struct List {
    writes: VecDeque<Write>,
    start: StartState,
}

/// Bytes for guest memory.
enum Write {
    /// Of the bundle
    File(Gpa, &'static [u8]),
    /// Made for the guest
    Made(Gpa, Vec<u8>),
    /// So many zeroes
    Zeroes(Gpa, u64),
}

impl Loading {
    /// One that begins at `not_before`, or later.
    pub(crate) fn new(not_before: Ticks) -> Self {
        Self {
            not_before,
            begun: Ticks(0),
            reset: false,
            scrub: Scrub::default(),
            list: None,
        }
    }

    /// Does a piece of the work; gives the state of the first vCPU with the last one.
    ///
    /// # Errors
    /// What is wrong with the kernel, in words.
    pub(crate) fn step(
        &mut self,
        guest: &Guest,
        bundle: &Bundle<'static>,
    ) -> Result<Option<StartState>, String> {
        if !self.reset {
            self.begun = hw::tsc::now();
            guest.reset(bundle.handover());
            self.reset = true;
            return Ok(None);
        }
        let Some(list) = self.list.as_mut() else {
            let writes = Writes {
                bundle,
                list: Mutex::default(),
            };
            let start = guest.prepare(bundle, &writes)?;
            self.list = Some(List {
                writes: writes.list.into_inner(),
                start,
            });
            return Ok(None);
        };
        if guest.vm.memory.scrub(&mut self.scrub, ZEROED) {
            return Ok(None);
        }
        let Some(write) = list.writes.pop_front() else {
            return Ok(Some(list.start));
        };
        let left = write
            .carry_out(&guest.vm.memory)
            .map_err(|_| "the kernel lies outside the guest's memory")?;
        if let Some(left) = left {
            list.writes.push_front(left);
        }
        Ok(None)
    }
}

impl Write {
    /// Writes as much as a piece is; gives the rest.
    fn carry_out(self, memory: &GuestRam) -> Result<Option<Write>, AccessError> {
        match self {
            Write::File(at, bytes) => {
                let (now, later) = bytes.split_at(bytes.len().min(WRITTEN));
                memory.write_from(at, now)?;
                let next = Gpa(at.0.wrapping_add(now.len() as u64));
                Ok((!later.is_empty()).then_some(Write::File(next, later)))
            }
            Write::Made(at, bytes) => memory.write_from(at, &bytes).map(|()| None),
            Write::Zeroes(at, len) => {
                let now = len.min(ZEROED);
                memory.zero(at, now)?;
                let next = Gpa(at.0.wrapping_add(now));
                Ok((now < len).then_some(Write::Zeroes(next, len - now)))
            }
        }
    }
}

/// Stands in for the guest's memory where a kernel is put into it, and writes down what is to be done.
struct Writes<'a> {
    bundle: &'a Bundle<'static>,
    list: Mutex<VecDeque<Write>>,
}

impl GuestMem for Writes<'_> {
    fn write_from(&self, gpa: Gpa, from: &[u8]) -> Result<(), AccessError> {
        let write = match self.bundle.lasting(from) {
            Some(bytes) => Write::File(gpa, bytes),
            None => Write::Made(gpa, from.to_vec()),
        };
        self.list.lock().push_back(write);
        Ok(())
    }

    fn zero(&self, gpa: Gpa, len: u64) -> Result<(), AccessError> {
        self.list.lock().push_back(Write::Zeroes(gpa, len));
        Ok(())
    }

    // A kernel is put into memory without a look at what is there.

    fn read_into(&self, _: Gpa, _: &mut [u8]) -> Result<(), AccessError> {
        Err(AccessError::Absent)
    }

    fn read_u64(&self, _: Gpa) -> Result<u64, AccessError> {
        Err(AccessError::Absent)
    }

    fn compare_exchange_u64(&self, _: Gpa, _: u64, _: u64) -> Result<bool, AccessError> {
        Err(AccessError::Absent)
    }
}
