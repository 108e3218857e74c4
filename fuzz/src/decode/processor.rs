//! A VMCS as a plain table, and a guest on a processor of a common kind.

use spec::cpu::{Cr0, Cr4, Efer, Gprs, Segment, TableRegister};
use spec::ept::Eptp;
use spec::memory_type::MemoryType;
use spec::state::StartState;
use spec::vmcs::{self, Field, FieldKind};
use spec::{Hpa, Msr};
use std::sync::OnceLock;
use vmx::{
    AddressWidths, Capabilities, Failure, HostState, Pointers, Setup, Vcpu, Vmcs, Wants, check,
    controls, setup,
};

/// All fields, by their place in [`vmcs::ALL`].
pub(super) struct Fields(Vec<u64>);

fn place(field: Field) -> usize {
    static PLACES: OnceLock<Vec<u8>> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let mut places = vec![u8::MAX; 1 << 15];
        for (n, (field, _)) in (0..u8::MAX).zip(vmcs::ALL) {
            places[field.0 as usize] = n;
        }
        places
    });
    let at = places.get(field.0 as usize).copied();
    at.filter(|&at| at != u8::MAX)
        .unwrap_or_else(|| panic!("undefined {field:?}"))
        .into()
}

impl Fields {
    pub(super) fn get(&self, field: Field) -> u64 {
        self.0[place(field)]
    }

    /// As the processor sets them: read-only ones too.
    pub(super) fn set(&mut self, field: Field, value: u64) {
        self.0[place(field)] = value & field.mask();
    }
}

impl Vmcs for Fields {
    fn read(&self, field: Field) -> u64 {
        self.get(field)
    }

    fn write(&mut self, field: Field, value: u64) {
        assert!(field.kind() != FieldKind::ExitInformation, "{field:?}");
        assert_eq!(value & !field.mask(), 0, "{value:#x} in {field:?}");
        self.set(field, value);
    }
}

/// How a guest starts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Start {
    Long,
    Real,
    Protected,
}

impl Start {
    /// An address that can be in its registers.
    pub(super) fn address(self, value: u64) -> u64 {
        match self {
            Self::Long => ((value << 16) as i64 >> 16) as u64,
            Self::Protected => value & 0xffff_ffff,
            Self::Real => value & 0xffff,
        }
    }

    fn state(self) -> StartState {
        let real = StartState::start_up(0x10, 0);
        let flat = |selector, rights| Segment {
            selector,
            base: 0,
            limit: u32::MAX,
            rights,
        };
        let data = flat(0x10, 0xc093);
        let code = |rights| [data, flat(8, rights), data, data, data, data];
        let table = TableRegister {
            base: 0,
            limit: 0xffff,
        };
        let common = StartState {
            gprs: Gprs::default(),
            rip: 0x1000,
            gdtr: table,
            idtr: table,
            ..real
        };
        match self {
            Self::Real => real,
            Self::Protected => StartState {
                cr0: (Cr0::PE | Cr0::ET | Cr0::NE).bits(),
                segments: code(0xc09b),
                ..common
            },
            Self::Long => StartState {
                cr0: (Cr0::PE | Cr0::PG | Cr0::ET | Cr0::NE | Cr0::WP).bits(),
                cr3: 0x2000,
                cr4: Cr4::PAE.bits(),
                efer: (Efer::LME | Efer::LMA).bits(),
                segments: code(0xa09b),
                ..common
            },
        }
    }
}

/// Capability MSRs of a Core i7-7800X (Skylake-X), as read from one.
const PROCESSOR: [(u32, u64); 16] = [
    (0x480, 0x00da_0400_0000_0004),
    (0x481, 0xff_0000_0016),
    (0x482, 0xfff9_fffe_0401_e172),
    (0x483, 0x01ff_ffff_0003_6dff),
    (0x484, 0x3_ffff_0000_11ff),
    (0x485, 0x7004_c1e7),
    (0x486, 0x8000_0021),
    (0x487, 0xffff_ffff),
    (0x488, 0x2000),
    (0x489, 0x37_27ff),
    (0x48b, 0x025d_3fff_0000_0000),
    (0x48c, 0x0f01_0673_4141),
    (0x48d, 0xff_0000_0016),
    (0x48e, 0xfff9_fffe_0400_6172),
    (0x48f, 0x01ff_ffff_0003_6dfb),
    (0x490, 0x3_ffff_0000_11fb),
];

const HOST: HostState = HostState {
    cr0: 0x8005_0033,
    cr3: 0x10_0000,
    cr4: Cr4::PAE.bits() | Cr4::VMXE.bits() | Cr4::MCE.bits(),
    es: 0,
    cs: 8,
    ss: 0,
    ds: 0,
    fs: 0,
    gs: 0,
    tr: 0x18,
    fs_base: 0,
    gs_base: 0xffff_8000_0000_1000,
    tr_base: 0xffff_8000_0000_2000,
    gdtr_base: 0xffff_8000_0000_3000,
    idtr_base: 0xffff_8000_0000_4000,
    sysenter_cs: 0,
    sysenter_esp: 0,
    sysenter_eip: 0,
    rsp: 0xffff_8000_0000_8000,
    rip: 0xffff_8000_0001_0000,
    efer: Efer::LME.bits() | Efer::LMA.bits() | Efer::NXE.bits(),
    pat: PAT,
};

const WIDTHS: AddressWidths = AddressWidths {
    physical: 39,
    linear: 48,
};

const PAT: u64 = 0x0007_0406_0007_0406;

fn capabilities() -> &'static Capabilities {
    static CAPABILITIES: OnceLock<Capabilities> = OnceLock::new();
    CAPABILITIES.get_or_init(|| {
        Capabilities::new(|msr: Msr| {
            let found = PROCESSOR.iter().find(|(number, _)| *number == msr.0);
            found.unwrap_or_else(|| panic!("RDMSR of {msr:?}")).1
        })
    })
}

/// A vCPU with its VMCS.
pub(super) struct Guest {
    pub(super) fields: Fields,
    pub(super) vcpu: Vcpu,
    pub(super) start: Start,
}

impl Guest {
    /// `owns_more`: of CR4 the guest changes some bits without an exit.
    pub(super) fn new(start: Start, owns_more: bool) -> Self {
        let mut fields = Fields(vec![0; vmcs::ALL.len()]);
        let capabilities = capabilities();
        let owned = Cr4::PAE | Cr4::PGE | Cr4::PSE | Cr4::TSD;
        let pointers = Pointers {
            eptp: Eptp::new(Hpa(0x20_0000), MemoryType::WriteBack, true),
            msr_bitmap: Hpa(0x30_0000),
            io_bitmap_a: Hpa(0x30_1000),
            io_bitmap_b: Hpa(0x30_2000),
        };
        let vcpu = setup::initialise(
            &mut fields,
            &Setup {
                controls: &controls::select(capabilities, &Wants::default()),
                start: &start.state(),
                pat: PAT,
                guest_cr4: if owns_more { owned.bits() } else { 0 },
                physical_bits: WIDTHS.physical,
                tsc_offset: 0,
                vpid: 1,
                host: &HOST,
                pointers,
            },
        );
        let guest = Self {
            fields,
            vcpu,
            start,
        };
        let failures = guest.failures();
        assert!(failures.is_empty(), "{failures:#?}");
        guest
    }

    /// To user mode or back.
    pub(super) fn privilege(&mut self, user: bool) {
        if self.start == Start::Real {
            return;
        }
        for n in 0..6 {
            let segment = vmcs::segment(n);
            let rights = self.fields.get(segment.rights) & !0x60;
            let selector = self.fields.get(segment.selector) & !3;
            let level = if user { 3 } else { 0 };
            self.fields.set(segment.rights, rights | level << 5);
            self.fields.set(segment.selector, selector | level);
        }
    }

    pub(super) fn is_user(&self) -> bool {
        self.fields.get(vmcs::GUEST_SS_RIGHTS) & 0x60 != 0
    }

    /// The rules of VM entry that the VMCS breaks.
    pub(super) fn failures(&self) -> Vec<Failure> {
        let mut failures = Vec::new();
        check(&self.fields, capabilities(), WIDTHS, &mut |failure| {
            failures.push(failure);
        });
        failures
    }
}
