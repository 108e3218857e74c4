use super::*;
use acpi_tables::Aml;
use acpi_tables::sdt::Sdt;
use alloc::vec;
use proptest::prelude::*;

const ROOT: Hpa = Hpa(0x7f00_0014);
const LIST: u64 = 0x7f00_1000;
const TABLE: u64 = 0x7f00_2004;

/// A table as firmware makes it: a header of its own, then what is given.
pub(crate) fn made(signature: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut sdt = Sdt::new(signature, 36, 5, *b"BULKHD", *b"BULKHEAD", 1);
    sdt.append_slice(content);
    bytes(&sdt)
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// Physical memory: what lies where.
#[derive(Clone)]
struct Memory(Vec<(u64, Vec<u8>)>);

impl Memory {
    /// A root pointer, a list, and tables from 0x7f002004 on, 4096 bytes apart.
    fn new(tables: &[Vec<u8>]) -> Self {
        let at = |n: usize| TABLE + n as u64 * 4096;
        let addresses: Vec<u8> = (0..tables.len())
            .flat_map(|n| at(n).to_le_bytes())
            .collect();
        let root = acpi_tables::rsdp::Rsdp::new(*b"BULKHD", LIST);
        let mut memory = vec![(ROOT.0, bytes(&root)), (LIST, made(*b"XSDT", &addresses))];
        memory.extend(
            tables
                .iter()
                .enumerate()
                .map(|(n, table)| (at(n), table.clone())),
        );
        Self(memory)
    }

    fn copy(&self, at: Hpa, len: usize) -> Option<Vec<u8>> {
        self.0.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(at.0.checked_sub(*start)?).ok()?;
            Some(bytes.get(from..from.checked_add(len)?)?.to_vec())
        })
    }

    fn find(&self) -> Result<Option<Vec<u8>>, Broken> {
        find(ROOT, *b"APIC", |at, len| self.copy(at, len))
    }

    /// With one byte of the table in place `index` changed, and what is then found.
    fn damaged(&self, index: usize, at: usize, value: u8) -> Result<Option<Vec<u8>>, Broken> {
        let mut memory = self.clone();
        memory.0[index].1[at] = value;
        memory.find()
    }
}

fn good() -> Memory {
    Memory::new(&[made(*b"FACP", &[1; 200]), made(*b"APIC", &[7; 50])])
}

#[test]
fn a_table_is_found_by_its_signature() {
    assert_eq!(good().find(), Ok(Some(made(*b"APIC", &[7; 50]))));
    assert_eq!(Memory::new(&[made(*b"FACP", &[])]).find(), Ok(None));
    assert_eq!(Memory::new(&[]).find(), Ok(None));
}

#[test]
fn damage_is_named() {
    let memory = good();
    assert_eq!(memory.damaged(0, 3, b'X'), Err(Broken::Signature("RSDP")));
    assert_eq!(memory.damaged(0, 9, 0), Err(Broken::Checksum("RSDP")));
    assert_eq!(memory.damaged(0, 20, 35), Err(Broken::Length("RSDP")));
    assert_eq!(memory.damaged(1, 0, b'R'), Err(Broken::Signature("XSDT")));
    assert_eq!(memory.damaged(1, 40, 1), Err(Broken::Checksum("XSDT")));
    assert_eq!(memory.damaged(3, 4, 35), Err(Broken::Length("MADT")));
    assert_eq!(memory.damaged(3, 7, 0xff), Err(Broken::Length("MADT")));
    let cut = memory.damaged(3, 5, 1);
    assert_eq!(cut, Err(Broken::Nowhere("MADT", Hpa(TABLE + 4096))));
    assert_eq!(memory.damaged(3, 50, 8), Err(Broken::Checksum("MADT")));
}

#[test]
fn an_address_outside_of_memory_is_not_followed() {
    let nowhere = |memory: Memory| memory.find();
    assert_eq!(nowhere(Memory(vec![])), Err(Broken::Nowhere("RSDP", ROOT)));
    let mut memory = good();
    memory.0.remove(1);
    assert_eq!(nowhere(memory), Err(Broken::Nowhere("XSDT", Hpa(LIST))));
    // A table that nobody asked for may be anywhere.
    let mut memory = good();
    memory.0.remove(2);
    assert_eq!(nowhere(memory), good().find());
}

proptest! {
    /// Whatever changes: no panic, and what is found is a whole table.
    #[test]
    fn no_damage_panics(index in 0..4usize, at in 0..80usize, value: u8, cut in 0..100usize) {
        let mut memory = good();
        let table = &mut memory.0[index].1;
        if let Some(byte) = table.get_mut(at) {
            *byte = value;
        }
        table.truncate(cut.max(1));
        if let Ok(Some(table)) = memory.find() {
            prop_assert_eq!(u32_at(&table, 4), Some(table.len() as u32));
        }
    }
}
