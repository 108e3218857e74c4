//! What the hypervisor asks for in its `BootloaderConfig`.

use crate::failure::Failure;
use bootloader_api::BootloaderConfig;
use bootloader_api::config::Mapping;
use spec::PAGE_SIZE;

/// The largest stack that is given.
const STACK_MAX: u64 = 16 << 20;

/// What of it is for us to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wishes {
    /// Bytes of stack, a multiple of 4096
    pub stack: u64,
}

impl Wishes {
    /// Reads the section `.bootloader-config`. Where things are mapped is fixed, so a wish for a place is refused
    /// rather than ignored; physical memory must be asked for, since the ramdisk and boot info are found in it.
    ///
    /// # Errors
    /// [`Failure::Hypervisor`], [`Failure::Wish`].
    pub fn parse(section: &[u8]) -> Result<Self, Failure> {
        let config = BootloaderConfig::deserialize(section)
            .map_err(|_| Failure::Hypervisor(crate::elf::ElfError::Config))?;
        let m = config.mappings;
        if m.physical_memory != Some(Mapping::Dynamic) {
            return Err(Failure::Wish(
                "no physical memory, or for it at a fixed address",
            ));
        }
        if m.page_table_recursive.is_some() {
            return Err(Failure::Wish("a recursive page table"));
        }
        if m.aslr || m.dynamic_range_start.is_some() || m.dynamic_range_end.is_some() {
            return Err(Failure::Wish("another layout of its address space"));
        }
        let fixed = |m| m != Mapping::Dynamic;
        if [
            m.kernel_stack,
            m.kernel_base,
            m.boot_info,
            m.framebuffer,
            m.ramdisk_memory,
        ]
        .into_iter()
        .any(fixed)
        {
            return Err(Failure::Wish("a fixed address"));
        }
        match config.kernel_stack_size {
            1..=STACK_MAX => Ok(Self {
                stack: config.kernel_stack_size.next_multiple_of(PAGE_SIZE),
            }),
            _ => Err(Failure::Wish("a stack of none or of more than 16 MiB")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(change: impl FnOnce(&mut BootloaderConfig)) -> Result<Wishes, Failure> {
        let mut config = BootloaderConfig::new_default();
        config.mappings.physical_memory = Some(Mapping::Dynamic);
        change(&mut config);
        Wishes::parse(&config.serialize())
    }

    #[test]
    fn a_stack_is_whole_pages() {
        assert_eq!(parse(|_| {}).unwrap().stack, 80 << 10);
        assert_eq!(parse(|c| c.kernel_stack_size = 1).unwrap().stack, 4096);
        assert_eq!(
            parse(|c| c.kernel_stack_size = STACK_MAX).unwrap().stack,
            STACK_MAX
        );
        for size in [0, STACK_MAX + 1, u64::MAX] {
            let got = parse(|c| c.kernel_stack_size = size);
            assert!(matches!(got, Err(Failure::Wish(_))), "{size:#x}");
        }
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let at = Mapping::FixedAddress(0xffff_9000_0000_0000);
        let wishes: [fn(&mut BootloaderConfig, Mapping); 6] = [
            |c, _| c.mappings.physical_memory = None,
            |c, at| c.mappings.physical_memory = Some(at),
            |c, _| c.mappings.page_table_recursive = Some(Mapping::Dynamic),
            |c, _| c.mappings.aslr = true,
            |c, at| c.mappings.kernel_base = at,
            |c, at| c.mappings.ramdisk_memory = at,
        ];
        for (i, wish) in wishes.into_iter().enumerate() {
            assert!(
                matches!(parse(|c| wish(c, at)), Err(Failure::Wish(_))),
                "{i}"
            );
        }
    }

    #[test]
    fn a_damaged_section_is_not_a_wish() {
        assert!(matches!(Wishes::parse(&[]), Err(Failure::Hypervisor(_))));
        assert!(matches!(
            Wishes::parse(&[0; 133]),
            Err(Failure::Hypervisor(_))
        ));
    }
}
