//! Every instruction that exits, in every mode that must not have it, or has it and must get what the manual says.
#![no_std]
#![no_main]

use guests::legacy::{self, Mode, Registers, SCRATCH};
use guests::probe::{State, gpr};
use guests::segments::{CODE_32, DATA, USER_CODE, USER_CODE_32, USER_DATA, descriptor, set};
use guests::trap::{GP0, Raised, UD};
use guests::verdict::Verdict;
use guests::{claim, guest, same};
use spec::cpuid::{EBX, Leaf7Ebx, leaf};

guest!(
    ring_3_of_64_bit_code,
    ring_0_of_compatibility_mode,
    ring_3_of_compatibility_mode,
    ring_3_of_16_bit_code,
    rings_1_and_2,
    protected_mode,
    protected_mode_in_ring_3,
    virtual_8086_mode,
    real_address_mode,
    a_register_of_32_bits_has_no_more,
    emulated_memory_outside_long_mode,
    string_ports_outside_long_mode,
    ports_at_the_end_of_segments,
);

/// What an instruction does with privilege, without it, and in real-address and virtual-8086 mode if that is something else.
struct Case {
    name: &'static str,
    code: &'static [u8],
    kernel: Raised,
    user: Raised,
    real: Raised,
    virtual_8086: Raised,
}

const fn case(name: &'static str, code: &'static [u8], kernel: Raised, user: Raised) -> Case {
    Case {
        name,
        code,
        kernel,
        user,
        real: kernel,
        virtual_8086: user,
    }
}

/// Not there at all.
const fn absent(name: &'static str, code: &'static [u8]) -> Case {
    case(name, code, UD, UD)
}

impl Case {
    const fn old(self, raised: Raised) -> Case {
        Case {
            real: raised,
            virtual_8086: raised,
            ..self
        }
    }
}

/// ECX is IA32_TSC_ADJUST, EDX zero or a port, EAX, EBX, ESI and EDI a place that may be written.
const CASES: &[Case] = &[
    case("cpuid", &[0x0f, 0xa2], None, None),
    case("rdmsr", &[0x0f, 0x32], None, GP0),
    case(
        "mov eax, 0; wrmsr",
        &[0x66, 0x31, 0xc0, 0x0f, 0x30],
        None,
        GP0,
    ),
    case("mov eax, cr0", &[0x0f, 0x20, 0xc0], None, GP0),
    case(
        "mov cr0, eax",
        &[0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0],
        None,
        GP0,
    ),
    case("mov eax, cr2", &[0x0f, 0x20, 0xd0], None, GP0),
    case(
        "mov cr3, eax",
        &[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8],
        None,
        GP0,
    ),
    case(
        "mov cr4, eax",
        &[0x0f, 0x20, 0xe0, 0x0f, 0x22, 0xe0],
        None,
        GP0,
    ),
    case("mov eax, dr7", &[0x0f, 0x21, 0xf8], None, GP0),
    case(
        "mov dr7, eax",
        &[0x0f, 0x21, 0xf8, 0x0f, 0x23, 0xf8],
        None,
        GP0,
    ),
    case("clts", &[0x0f, 0x06], None, GP0),
    case("lmsw", &[0x0f, 0x01, 0xf0], None, GP0),
    case("smsw", &[0x0f, 0x01, 0xe0], None, None),
    case("invlpg", &[0x0f, 0x01, 0x38], None, GP0),
    case("wbinvd", &[0x0f, 0x09], None, GP0),
    case("invd", &[0x0f, 0x08], None, GP0),
    case("rdpmc", &[0x0f, 0x33], GP0, GP0),
    case("rdtsc", &[0x0f, 0x31], None, None),
    case("rdtscp", &[0x0f, 0x01, 0xf9], None, None),
    case("in al, dx", &[0xec], None, GP0),
    case("out dx, eax", &[0x66, 0xef], None, GP0),
    case("in al, 0x80", &[0xe4, 0x80], None, GP0),
    case("insb", &[0x6c], None, GP0),
    case("outsb", &[0x6e], None, GP0),
    case("cli", &[0xfa], None, GP0),
    case("sgdt", &[0x0f, 0x01, 0x00], None, None),
    case("sidt", &[0x0f, 0x01, 0x08], None, None),
    case("sldt", &[0x0f, 0x00, 0xc0], None, None).old(UD),
    case("str", &[0x0f, 0x00, 0xc8], None, None).old(UD),
    case(
        "lldt of nothing",
        &[0x66, 0x31, 0xc0, 0x0f, 0x00, 0xd0],
        None,
        GP0,
    )
    .old(UD),
    case(
        "ltr of nothing",
        &[0x66, 0x31, 0xc0, 0x0f, 0x00, 0xd8],
        GP0,
        GP0,
    )
    .old(UD),
    case("sysenter", &[0x0f, 0x34], GP0, GP0),
    case("sysexit", &[0x0f, 0x35], GP0, GP0),
    absent("syscall", &[0x0f, 0x05]),
    absent("sysret", &[0x0f, 0x07]),
    absent("xsetbv", &[0x0f, 0x01, 0xd1]),
    absent("xgetbv", &[0x0f, 0x01, 0xd0]),
    absent("monitor", &[0x0f, 0x01, 0xc8]),
    absent("mwait", &[0x0f, 0x01, 0xc9]),
    absent("rsm", &[0x0f, 0xaa]),
    absent("getsec", &[0x0f, 0x37]),
    absent("vmcall", &[0x0f, 0x01, 0xc1]),
    absent("vmlaunch", &[0x0f, 0x01, 0xc2]),
    absent("vmresume", &[0x0f, 0x01, 0xc3]),
    absent("vmxoff", &[0x0f, 0x01, 0xc4]),
    absent("vmfunc", &[0x0f, 0x01, 0xd4]),
    absent("vmread", &[0x0f, 0x78, 0xc1]),
    absent("vmwrite", &[0x0f, 0x79, 0xc1]),
    absent("vmptrld", &[0x0f, 0xc7, 0x30]),
    absent("vmptrst", &[0x0f, 0xc7, 0x38]),
    absent("vmclear", &[0x66, 0x0f, 0xc7, 0x30]),
    absent("vmxon", &[0xf3, 0x0f, 0xc7, 0x30]),
    absent("invept", &[0x66, 0x0f, 0x38, 0x80, 0x00]),
    absent("invvpid", &[0x66, 0x0f, 0x38, 0x81, 0x00]),
    absent("encls", &[0x0f, 0x01, 0xcf]),
    absent("enclu", &[0x0f, 0x01, 0xd7]),
    absent("enclv", &[0x0f, 0x01, 0xc0]),
    absent("pconfig", &[0x0f, 0x01, 0xc5]),
    absent("stgi of AMD", &[0x0f, 0x01, 0xdc]),
    absent("vmmcall of AMD", &[0x0f, 0x01, 0xd9]),
];

/// Cases where privilege must be lacking: with it they would sleep or load tables.
const USER_ONLY: &[Case] = &[
    case("hlt", &[0xf4], None, GP0),
    case("lgdt", &[0x0f, 0x01, 0x10], None, GP0),
    case("lidt", &[0x0f, 0x01, 0x18], None, GP0),
];

/// What 64-bit code alone has.
const USER_64: &[Case] = &[
    case("swapgs", &[0x0f, 0x01, 0xf8], None, GP0),
    absent("rdfsbase", &[0xf3, 0x0f, 0xae, 0xc0]),
    case("mov rax, cr8", &[0x44, 0x0f, 0x20, 0xc0], None, GP0),
    case("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0], None, GP0),
    case("sti", &[0xfb], None, GP0),
];

/// Outside 64-bit mode.
const NARROW: &[Case] = &[
    absent("swapgs", &[0x0f, 0x01, 0xf8]),
    absent("rdfsbase", &[0xf3, 0x0f, 0xae, 0xc0]),
];

/// INVPCID of all contexts, type 2 in EAX; the descriptor is where EBX points, or BP and DI.
fn invpcid() -> Case {
    const CODE: &[u8] = &[0xb0, 0x02, 0x66, 0x0f, 0x38, 0x82, 0x03];
    let shown = guests::cpu::cpuid(leaf::EXTENDED_FEATURES, 0)[EBX] & Leaf7Ebx::INVPCID.bits() != 0;
    if shown {
        // The lowest bits of EAX are not all of it: a type beyond the last.
        case("invpcid", CODE, GP0, GP0)
    } else {
        case("invpcid", CODE, UD, UD)
    }
}

fn probed(state: State, cases: &[Case], kernel: bool) -> Verdict {
    for Case {
        name,
        code,
        kernel: with,
        user: without,
        ..
    } in cases
    {
        let place = SCRATCH + 0x100;
        let state = [gpr::RAX, gpr::RBX, gpr::RSI, gpr::RDI]
            .into_iter()
            .fold(state, |state, register| state.with(register, place));
        let state = state.with(gpr::RCX, spec::msr::TSC_ADJUST.0.into());
        let is_port = name.contains("dx") || name.ends_with("sb");
        let state = state.with(gpr::RDX, if is_port { 0x80 } else { 0 });
        let found = state.run(code);
        same!(
            found.raised(),
            if kernel { *with } else { *without },
            "{name}"
        );
    }
    Ok(())
}

fn ring_3_of_64_bit_code() -> Verdict {
    let state = State::new().within(USER_CODE, USER_DATA);
    probed(state, CASES, false)?;
    probed(state, USER_ONLY, false)?;
    probed(state, USER_64, false)?;
    probed(state, &[invpcid()], false)
}

fn ring_0_of_compatibility_mode() -> Verdict {
    let state = State::new().within(CODE_32, DATA);
    probed(state, CASES, true)?;
    probed(state, NARROW, true)?;
    probed(state, &[invpcid()], true)
}

fn ring_3_of_compatibility_mode() -> Verdict {
    let state = State::new().within(USER_CODE_32, USER_DATA);
    for cases in [CASES, USER_ONLY, NARROW, &[invpcid()]] {
        probed(state, cases, false)?;
    }
    Ok(())
}

fn ring_3_of_16_bit_code() -> Verdict {
    // A segment of the whole address space, whose code has 16 bits all the same.
    let cs = set(0, descriptor(0, 0xf_ffff, 0x80fb));
    for Case {
        name, code, user, ..
    } in CASES.iter().chain(USER_ONLY).chain(NARROW)
    {
        // [BX + SI], of 16 bits, is in low memory that is nobody's.
        let state = State::new().within(cs, USER_DATA).with(gpr::RSI, 0x800);
        let state = state
            .with(gpr::RCX, spec::msr::TSC_ADJUST.0.into())
            .with(gpr::RDI, 0x800);
        same!(state.run(code).raised(), *user, "{name}");
    }
    Ok(())
}

fn rings_1_and_2() -> Verdict {
    for ring in 1..3 {
        let code = set(0, descriptor(0, 0xf_ffff, 0xa09b | (ring as u16) << 5));
        let data = set(1, descriptor(0, 0xf_ffff, 0xc093 | (ring as u16) << 5));
        // The task state segment has no stack for the inner rings but ring 0, which is what exceptions go to.
        let state = State::new().within(code, data);
        probed(state, CASES, false)?;
        probed(state, USER_ONLY, false)?;
    }
    Ok(())
}

fn tried(mode: Mode, cases: &[Case], expected: fn(&Case) -> Raised) -> Verdict {
    for case in cases {
        let is_port = case.name.contains("dx") || case.name.ends_with("sb");
        let narrow = matches!(mode, Mode::Real | Mode::Virtual8086);
        let place = if narrow {
            0x100
        } else {
            SCRATCH as u32 + 0x100
        };
        let registers = Registers {
            eax: place,
            ecx: spec::msr::TSC_ADJUST.0,
            edx: if is_port { 0x80 } else { 0 },
            index: place,
        };
        let ended = legacy::run(mode, registers, case.code);
        same!(ended.raised, expected(case), "{}", case.name);
    }
    Ok(())
}

fn protected_mode() -> Verdict {
    for cases in [CASES, NARROW] {
        tried(Mode::Protected, cases, |case| case.kernel)?;
    }
    Ok(())
}

fn protected_mode_in_ring_3() -> Verdict {
    for cases in [CASES, USER_ONLY, NARROW] {
        tried(Mode::ProtectedUser, cases, |case| case.user)?;
    }
    Ok(())
}

fn virtual_8086_mode() -> Verdict {
    for cases in [CASES, USER_ONLY, NARROW] {
        tried(Mode::Virtual8086, cases, |case| case.virtual_8086)?;
    }
    Ok(())
}

fn real_address_mode() -> Verdict {
    for cases in [CASES, NARROW] {
        tried(Mode::Real, cases, |case| case.real)?;
    }
    Ok(())
}

fn a_register_of_32_bits_has_no_more() -> Verdict {
    // The upper half of RAX is not CR4's, DR7's or an MSR's business in 32-bit code.
    let state = State::new().within(CODE_32, DATA);
    let high = 0xffff_ffff_0000_0000;
    for (name, code, value) in [
        ("mov cr4, eax", &[0x0f, 0x22, 0xe0][..], guests::cpu::cr4()),
        ("mov cr0, eax", &[0x0f, 0x22, 0xc0], guests::cpu::cr0()),
        ("mov cr3, eax", &[0x0f, 0x22, 0xd8], guests::cpu::cr3()),
        ("mov dr7, eax", &[0x0f, 0x23, 0xf8], 0x400),
        ("mov dr6, eax", &[0x0f, 0x23, 0xf0], 0xffff_0ff0),
    ] {
        let found = state.with(gpr::RAX, high | value).run(code);
        same!(found.raised(), None, "{name}");
    }
    let state = state.with(gpr::RAX, high).with(gpr::RDX, high);
    let found = state.with(gpr::RCX, high | 0x3b).run(&[0x0f, 0x30]);
    same!(found.raised(), None, "wrmsr");
    let found = state.with(gpr::RCX, high).run(&[0x0f, 0xa2]);
    same!(
        found.gprs[gpr::RAX],
        u64::from(guests::cpu::cpuid(0, 0)[0]),
        "cpuid"
    );
    Ok(())
}

fn emulated_memory_outside_long_mode() -> Verdict {
    let narrow = Registers {
        index: 0x20,
        ecx: 3,
        ..Registers::default()
    };
    for mode in [Mode::Real, Mode::Virtual8086] {
        // ES begins where video memory would, and nothing is.
        let found = legacy::run(mode, narrow, &[0x26, 0x66, 0x8b, 0x05]);
        same!(
            (found.raised, found.eax),
            (None, u32::MAX),
            "{mode:?}: mov eax, es:[di]"
        );
        let found = legacy::run(mode, narrow, &[0xf3, 0xa4, 0x89, 0xf8]);
        same!(
            (found.raised, found.eax & 0xffff),
            (None, 0x23),
            "{mode:?}: rep movsb"
        );
        let end = Registers {
            index: 0xffff,
            ..narrow
        };
        let found = legacy::run(mode, end, &[0x26, 0x8b, 0x05]);
        claim!(
            found
                .raised
                .is_some_and(|(vector, _)| vector == spec::cpu::vector::GP.0),
            "{mode:?}: beyond the segment: {found:x?}"
        );
    }
    let wide = Registers {
        index: 0xfec0_0010,
        ..Registers::default()
    };
    for mode in [Mode::Protected, Mode::ProtectedUser] {
        let found = legacy::run(mode, wide, &[0xb0, 0x5a, 0x8b, 0x07]);
        claim!(
            found.raised.is_none() && found.eax != 0x5a,
            "{mode:?}: {found:x?}"
        );
    }
    Ok(())
}

fn string_ports_outside_long_mode() -> Verdict {
    let registers = Registers {
        index: 0x40,
        ecx: 4,
        edx: 0x80,
        eax: 0,
    };
    // REP INSB to nothing, REP OUTSB from memory; then DI or SI.
    for (code, far) in [
        ([0xf3, 0x6c, 0x89, 0xf8], 0x44),
        ([0xf3, 0x6e, 0x89, 0xf0], 0x44),
    ] {
        let found = legacy::run(Mode::Real, registers, &code);
        same!((found.raised, found.eax & 0xffff), (None, far), "{code:x?}");
        let found = legacy::run(Mode::Virtual8086, registers, &code);
        same!(found.raised, GP0, "{code:x?}");
    }
    Ok(())
}

fn ports_at_the_end_of_segments() -> Verdict {
    // Four elements fit into the segment, the fifth does not.
    let registers = Registers {
        index: 0xfffc,
        ecx: 9,
        edx: 0x80,
        eax: 0,
    };
    let found = legacy::run(Mode::Real, registers, &[0xf3, 0x6e, 0x66, 0x89, 0xf0]);
    // SI wraps to the segment's beginning.
    same!((found.raised, found.eax & 0xffff), (None, 5));
    let registers = Registers {
        index: 0xffff,
        ..registers
    };
    let found = legacy::run(Mode::Real, registers, &[0x6f]);
    claim!(
        found
            .raised
            .is_some_and(|(vector, _)| vector == spec::cpu::vector::GP.0),
        "OUTSW across the end: {found:x?}"
    );
    Ok(())
}
