use super::*;

const PE: u64 = Cr0::PE.bits();
const PG: u64 = Cr0::PG.bits();
const REFUSED: Result<u64, GeneralProtection> = Err(GeneralProtection);

const REAL: ControlState = ControlState {
    cr0: 0x10,
    cr3: 0,
    cr4: 0,
    efer: 0,
    cs_long: false,
    bars_ia32e: false,
};

/// A 64-bit Linux.
fn long() -> ControlState {
    ControlState {
        cr0: 0x8005_0033,
        cr3: 0x1000,
        cr4: Cr4::PAE.bits(),
        efer: 0xd01,
        cs_long: true,
        bars_ia32e: false,
    }
}

#[test]
fn cr0_bits_by_themselves() {
    assert_eq!(check_cr0(&REAL, 0), Ok(0x10), "ET is always one");
    assert_eq!(
        check_cr0(&REAL, PE | 0x1ffa_ffc0),
        Ok(PE | 0x10),
        "reserved bits are ignored"
    );
    assert_eq!(check_cr0(&REAL, 0x6000_0000), Ok(0x6000_0010));
    assert_eq!(check_cr0(&REAL, 1 << 32 | PE), REFUSED);
    assert_eq!(check_cr0(&REAL, PG), REFUSED);
    assert_eq!(check_cr0(&REAL, Cr0::NW.bits()), REFUSED);
}

#[test]
fn cr0_into_and_out_of_long_mode() {
    let before = ControlState {
        cr0: PE,
        efer: Efer::LME.bits(),
        cr4: Cr4::PAE.bits(),
        ..REAL
    };
    assert_eq!(check_cr0(&before, PE | PG), Ok(PE | PG | 0x10));
    assert_eq!(
        check_cr0(&ControlState { cr4: 0, ..before }, PE | PG),
        REFUSED
    );
    assert_eq!(
        check_cr0(
            &ControlState {
                bars_ia32e: true,
                ..before
            },
            PE | PG
        ),
        REFUSED
    );
    // Without LME it is 32-bit paging, which needs no PAE.
    assert!(
        check_cr0(
            &ControlState {
                cr4: 0,
                efer: 0,
                ..before
            },
            PE | PG
        )
        .is_ok()
    );

    assert_eq!(check_cr0(&long(), PE), REFUSED);
    let compatibility = ControlState {
        cs_long: false,
        ..long()
    };
    assert_eq!(check_cr0(&compatibility, PE), Ok(PE | 0x10));
    let pcid = ControlState {
        cr4: (Cr4::PAE | Cr4::PCIDE).bits(),
        ..compatibility
    };
    assert_eq!(check_cr0(&pcid, PE), REFUSED);

    assert_eq!(efer_with_cr0(0x901, PE | PG), 0xd01);
    assert_eq!(efer_with_cr0(0xd01, PE), 0x901);
    assert_eq!(efer_with_cr0(0x801, PE | PG), 0x801);
}

#[test]
fn cr4() {
    let allowed = Cr4::PAE | Cr4::PCIDE | Cr4::SMEP;
    assert_eq!(
        check_cr4(&REAL, Cr4::SMEP.bits(), allowed),
        Ok(Cr4::SMEP.bits())
    );
    assert_eq!(check_cr4(&REAL, Cr4::VMXE.bits(), allowed), REFUSED);
    assert_eq!(check_cr4(&REAL, 1 << 63, allowed), REFUSED);
    assert_eq!(
        check_cr4(&long(), 0, allowed),
        REFUSED,
        "PAE stays in long mode"
    );
    let pcid = (Cr4::PAE | Cr4::PCIDE).bits();
    assert_eq!(check_cr4(&long(), pcid, allowed), Ok(pcid));
    assert_eq!(
        check_cr4(&REAL, pcid, allowed),
        REFUSED,
        "only in long mode"
    );
    let in_use = ControlState {
        cr3: 0x1005,
        ..long()
    };
    assert_eq!(
        check_cr4(&in_use, pcid, allowed),
        REFUSED,
        "CR3 names a PCID already"
    );
    let kept = ControlState {
        cr4: pcid,
        ..in_use
    };
    assert_eq!(check_cr4(&kept, pcid, allowed), Ok(pcid));
    let no_wp = ControlState {
        cr0: PE | PG,
        ..long()
    };
    let cet = (Cr4::PAE | Cr4::CET).bits();
    assert_eq!(check_cr4(&no_wp, cet, Cr4::all()), REFUSED);
    assert_eq!(check_cr4(&long(), cet, Cr4::all()), Ok(cet));
    assert_eq!(
        check_cr4(&long(), (Cr4::PAE | Cr4::LA57).bits(), Cr4::all()),
        REFUSED
    );
}

#[test]
fn efer() {
    let all = Efer::SCE | Efer::LME | Efer::NXE;
    assert_eq!(check_efer(&REAL, 0x901, all), Ok(0x901));
    assert_eq!(
        check_efer(&REAL, 0xd01, all),
        Ok(0x901),
        "LMA cannot be written"
    );
    assert_eq!(
        check_efer(&long(), 0x901, all),
        Ok(0xd01),
        "LMA cannot be cleared"
    );
    assert_eq!(check_efer(&long(), 0xc01, all), REFUSED, "LME while paging");
    assert_eq!(check_efer(&REAL, 0x800, all - Efer::NXE), REFUSED);
    assert_eq!(check_efer(&REAL, 1 << 12, all), REFUSED, "SVME");
}

#[test]
fn xcr0() {
    let all = Xcr0::all();
    for (new, ok) in [
        (0, false),
        (1, true),
        (2, false),
        (3, true),
        (5, false),
        (7, true),
        (0xe7, true),
        (0xe3, false),
        (0x27, false),
        (0xc7, false),
        (0x9, false),
        (1 << 63 | 1, false),
    ] {
        assert_eq!(check_xcr0(new, all).is_ok(), ok, "{new:#x}");
    }
    assert_eq!(check_xcr0(7, Xcr0::X87 | Xcr0::SSE), REFUSED);
}
