//! A guest's memory and chips, and processors in plain states.

use crate::{Bus, PortBus};
use seam::{AccessError, GuestMem};
use spec::cpu::{Cr0, Cr4, Efer, Segment};
use spec::pte::Pte;
use spec::state::CpuState;
use spec::{Gpa, Port, Width};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

const PAGE: u64 = 4096;

/// Pages of bytes; there is nothing between them.
#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Pages {
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Pages {
    pub(super) fn add(&mut self, at: u64, count: u64) {
        for n in 0..count {
            self.pages
                .insert(at + n * PAGE, std::vec![0; PAGE as usize]);
        }
    }

    pub(super) fn get(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = at.checked_add(bytes.len() as u64)?;
            let from = (at % PAGE) as usize;
            let page = &self.pages.get(&(at - at % PAGE))?[from..];
            bytes.extend_from_slice(&page[..page.len().min(len - bytes.len())]);
        }
        Some(bytes)
    }

    pub(super) fn set(&mut self, at: u64, bytes: &[u8]) -> Option<()> {
        self.get(at, bytes.len())?;
        let mut done = 0;
        while done < bytes.len() {
            let at = at + done as u64;
            let from = (at % PAGE) as usize;
            let page = &mut self.pages.get_mut(&(at - at % PAGE))?[from..];
            let len = page.len().min(bytes.len() - done);
            page[..len].copy_from_slice(&bytes[done..done + len]);
            done += len;
        }
        Some(())
    }
}

/// What another processor of the guest does right before a compare-exchange.
type Meddler = std::boxed::Box<dyn FnMut(&mut Pages)>;

/// The guest's RAM.
#[derive(Default)]
pub(super) struct Ram {
    pub(super) pages: RefCell<Pages>,
    /// Entries that were changed, in order, with their new values
    pub(super) history: RefCell<Vec<(Gpa, u64)>>,
    pub(super) meddler: RefCell<Option<Meddler>>,
    next_table: RefCell<u64>,
}

impl Ram {
    pub(super) fn set(&self, at: u64, bytes: &[u8]) {
        self.pages.borrow_mut().set(at, bytes).unwrap();
    }

    pub(super) fn get(&self, at: u64, len: usize) -> Vec<u8> {
        self.pages.borrow().get(at, len).unwrap()
    }

    pub(super) fn entry(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.get(at, 8).try_into().unwrap())
    }

    pub(super) fn set_entry(&self, at: u64, entry: u64) {
        self.set(at, &entry.to_le_bytes());
    }

    /// A fresh table, from 0x1000 on.
    pub(super) fn table(&self) -> u64 {
        let mut next = self.next_table.borrow_mut();
        *next += PAGE;
        self.pages.borrow_mut().add(*next, 1);
        *next
    }

    /// Maps a 4 KiB page in tables of `levels` levels; all rights on the way, `flags` at the end.
    pub(super) fn map(&self, root: u64, levels: u32, linear: u64, gpa: u64, flags: Pte) {
        let mut table = root;
        for level in (2..=levels).rev() {
            let at = table + ((linear >> (3 + 9 * level)) & 511) * 8;
            if self.entry(at) & 1 == 0 {
                self.set_entry(
                    at,
                    self.table() | (Pte::PRESENT | Pte::WRITE | Pte::USER).bits(),
                );
            }
            table = self.entry(at) & Pte::FRAME.bits();
        }
        self.set_entry(table + ((linear >> 12) & 511) * 8, gpa | flags.bits());
    }
}

impl GuestMem for Ram {
    fn read_into(&self, gpa: Gpa, into: &mut [u8]) -> Result<(), AccessError> {
        let bytes = self
            .pages
            .borrow()
            .get(gpa.0, into.len())
            .ok_or(AccessError::Absent)?;
        into.copy_from_slice(&bytes);
        Ok(())
    }

    fn write_from(&self, gpa: Gpa, from: &[u8]) -> Result<(), AccessError> {
        self.pages
            .borrow_mut()
            .set(gpa.0, from)
            .ok_or(AccessError::Absent)
    }

    fn zero(&self, gpa: Gpa, len: u64) -> Result<(), AccessError> {
        self.write_from(gpa, &std::vec![0; len as usize])
    }

    fn read_u64(&self, gpa: Gpa) -> Result<u64, AccessError> {
        if !gpa.is_aligned(8) {
            return Err(AccessError::Width);
        }
        let mut bytes = [0; 8];
        self.read_into(gpa, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn compare_exchange_u64(&self, gpa: Gpa, old: u64, new: u64) -> Result<bool, AccessError> {
        if let Some(meddler) = self.meddler.borrow_mut().as_mut() {
            meddler(&mut self.pages.borrow_mut());
        }
        if self.read_u64(gpa)? != old {
            return Ok(false);
        }
        self.history.borrow_mut().push((gpa, new));
        self.write_from(gpa, &new.to_le_bytes())?;
        Ok(true)
    }
}

/// One access of the bus: address, bytes, and the value of a write.
pub(super) type Seen = (u64, u64, Option<u64>);

/// Chips that are nothing but pages of memory; all ones elsewhere.
#[derive(Default)]
pub(super) struct Chips {
    pub(super) pages: Pages,
    pub(super) seen: Vec<Seen>,
    /// What ports give, in turn, and what they got
    pub(super) port: Vec<u64>,
}

impl Bus for Chips {
    fn read(&mut self, gpa: Gpa, width: Width) -> u64 {
        self.seen.push((gpa.0, width.bytes(), None));
        let mut bytes = self
            .pages
            .get(gpa.0, width.bytes() as usize)
            .unwrap_or_default();
        // Bits above the width must not count.
        bytes.resize(8, 0xff);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    fn write(&mut self, gpa: Gpa, width: Width, value: u64) {
        assert_eq!(value & !width.ones(), 0, "bits above the width");
        self.seen.push((gpa.0, width.bytes(), Some(value)));
        self.pages
            .set(gpa.0, &value.to_le_bytes()[..width.bytes() as usize]);
    }
}

impl PortBus for Chips {
    fn read(&mut self, _: Port, _: Width) -> u64 {
        if self.port.is_empty() {
            u64::MAX
        } else {
            self.port.remove(0)
        }
    }

    fn write(&mut self, _: Port, width: Width, value: u64) {
        assert_eq!(value & !width.ones(), 0, "bits above the width");
        self.port.push(value);
    }
}

const CODE: u32 = 0x9b;
const DATA: u32 = 0x93;

/// A flat segment of data, or of code.
fn flat(rights: u32) -> Segment {
    Segment {
        selector: 0x10,
        base: 0,
        limit: 0xffff_ffff,
        rights: rights | Segment::DEFAULT_32,
    }
}

/// In protected mode without paging, privilege level 0, flat segments.
pub(super) fn protected() -> CpuState {
    let mut segments = [flat(DATA); 6];
    segments[CpuState::CS] = flat(CODE);
    CpuState {
        rip: 0,
        rsp: 0,
        rflags: 2,
        cr0: (Cr0::PE | Cr0::ET | Cr0::NE | Cr0::WP).bits(),
        cr3: 0,
        cr4: 0,
        efer: 0,
        physical_bits: 52,
        segments,
    }
}

/// In 64-bit mode with tables at `root`.
pub(super) fn long(root: u64) -> CpuState {
    let mut cpu = protected();
    cpu.cr0 |= Cr0::PG.bits();
    cpu.cr3 = root;
    cpu.cr4 = Cr4::PAE.bits();
    cpu.efer = (Efer::LME | Efer::LMA | Efer::NXE).bits();
    cpu.segments[CpuState::CS].rights = CODE | Segment::LONG;
    cpu
}

/// In real-address mode.
pub(super) fn real() -> CpuState {
    let mut cpu = protected();
    cpu.cr0 = Cr0::ET.bits();
    cpu.segments = [Segment {
        selector: 0,
        base: 0,
        limit: 0xffff,
        rights: DATA,
    }; 6];
    cpu
}

/// The same at privilege level 3.
pub(super) fn user(mut cpu: CpuState) -> CpuState {
    for index in [CpuState::CS, CpuState::SS] {
        cpu.segments[index].rights |= 0x60;
    }
    cpu
}
