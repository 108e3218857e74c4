//! An attacker that tries the instructions of VMX, SMX, SGX and SVM in every mode, and the registers that would switch them on. Its
//! processor has none of them.
#![no_std]
#![no_main]
// UNSAFETY: control registers.
#![allow(unsafe_code)]

use guests::modes::{self, Mode, Registers};
use guests::random::Random;
use guests::trap::{GP0, UD, raised};
use guests::verdict::Verdict;
use guests::{attempt, cpu, guest, msr, paging, same};
use spec::Msr;
use spec::cpu::{Cr4, vector};
use spec::cpuid::{EBX, ECX, Leaf1Ecx};

guest!(
    none_of_them_is_shown,
    vmx_instructions_are_undefined_in_every_mode,
    smx_and_sgx_instructions_are_undefined_in_every_mode,
    svm_instructions_are_undefined_in_every_mode,
    prefixes_and_operands_change_nothing,
    an_operand_without_memory_is_not_looked_at,
    an_instruction_that_is_half_there_is_a_page_fault,
    registers_stay_as_they_were,
    vmxe_and_smxe_are_refused_in_every_mode,
    their_registers_are_absent,
    efer_svme_is_refused,
    a_thousand_in_a_row_are_a_thousand_faults,
);

/// Those of VMX, in bytes that mean the same in each mode (SDM vol. 3, "VMX Instruction Reference"), and of its successors.
const VMX: [&[u8]; 17] = [
    &[0x0f, 0x01, 0xc1],             // VMCALL
    &[0x0f, 0x01, 0xc2],             // VMLAUNCH
    &[0x0f, 0x01, 0xc3],             // VMRESUME
    &[0x0f, 0x01, 0xc4],             // VMXOFF
    &[0x0f, 0x01, 0xd4],             // VMFUNC
    &[0x0f, 0xc7, 0x37],             // VMPTRLD
    &[0x0f, 0xc7, 0x3f],             // VMPTRST
    &[0x66, 0x0f, 0xc7, 0x37],       // VMCLEAR
    &[0xf3, 0x0f, 0xc7, 0x37],       // VMXON
    &[0x0f, 0x78, 0xc1],             // VMREAD to a register
    &[0x0f, 0x78, 0x07],             // and to memory
    &[0x0f, 0x79, 0xc1],             // VMWRITE
    &[0x0f, 0x79, 0x07],             // from memory
    &[0x66, 0x0f, 0x38, 0x80, 0x07], // INVEPT
    &[0x66, 0x0f, 0x38, 0x81, 0x07], // INVVPID
    &[0x66, 0x0f, 0x01, 0xcc],       // TDCALL
    &[0x66, 0x0f, 0x01, 0xcf],       // SEAMCALL
];

/// Those of SMX and SGX, and what else is the host's.
const SMX_AND_SGX: [&[u8]; 6] = [
    &[0x0f, 0x37],       // GETSEC
    &[0x0f, 0x01, 0xcf], // ENCLS
    &[0x0f, 0x01, 0xd7], // ENCLU
    &[0x0f, 0x01, 0xc0], // ENCLV
    &[0x0f, 0x01, 0xc5], // PCONFIG
    &[0x0f, 0xaa],       // RSM
];

/// Those of SVM: VMRUN to INVLPGA, eight bytes in a row (APM vol. 3).
const SVM: core::ops::RangeInclusive<u8> = 0xd8..=0xdf;

fn all_undefined(instructions: &[&[u8]]) -> Verdict {
    modes::prepare();
    for mode in Mode::ALL {
        for bytes in instructions {
            // Leaves of GETSEC, ENCLS and ENCLU, functions of VMFUNC
            for eax in [0, 1, 0xffff_ffff] {
                let registers = Registers {
                    eax,
                    ..Registers::default()
                };
                let found = modes::attempt_with(mode, bytes, registers);
                same!(found.raised, UD, "{bytes:02x?} in {mode:?} with {eax:#x}");
                same!(found.at, 0, "{bytes:02x?} in {mode:?}: where");
            }
        }
    }
    Ok(())
}

fn none_of_them_is_shown() -> Verdict {
    let shown = cpu::cpuid(1, 0)[ECX];
    same!(shown & (Leaf1Ecx::VMX | Leaf1Ecx::SMX).bits(), 0);
    // SGX and its launch control; SGX's leaf; SVM
    same!(cpu::cpuid(7, 0)[EBX] & 1 << 2, 0, "SGX");
    same!(cpu::cpuid(7, 0)[ECX] & 1 << 30, 0, "SGX_LC");
    same!(cpu::cpuid(0x12, 0), [0; 4], "leaf 0x12");
    same!(cpu::cpuid(0x8000_0001, 0)[ECX] & 1 << 2, 0, "SVM");
    Ok(())
}

fn vmx_instructions_are_undefined_in_every_mode() -> Verdict {
    all_undefined(&VMX)
}

fn smx_and_sgx_instructions_are_undefined_in_every_mode() -> Verdict {
    all_undefined(&SMX_AND_SGX)
}

fn svm_instructions_are_undefined_in_every_mode() -> Verdict {
    for last in SVM {
        all_undefined(&[&[0x0f, 0x01, last]])?;
    }
    Ok(())
}

fn prefixes_and_operands_change_nothing() -> Verdict {
    modes::prepare();
    // LOCK, the two repetitions, operand and address size, a segment.
    for prefix in [0xf0, 0xf2, 0xf3, 0x66, 0x67, 0x2e, 0x64] {
        for bytes in VMX
            .iter()
            .chain(&SMX_AND_SGX)
            .filter(|bytes| bytes[0] == 0x0f)
        {
            // F3 0F 01 C5 and its like may be others' some day; VMX's own with F2 or F3 are not these.
            let mut with = [0; 8];
            with[0] = prefix;
            with[1..=bytes.len()].copy_from_slice(bytes);
            let with = &with[..=bytes.len()];
            for mode in [Mode::Long, Mode::LongUser, Mode::Compatibility, Mode::Real] {
                same!(modes::attempt(mode, with), UD, "{with:02x?} in {mode:?}");
            }
        }
    }
    Ok(())
}

fn an_operand_without_memory_is_not_looked_at() -> Verdict {
    macro_rules! undefined_at {
        ($($instruction:literal)+) => {
            for at in [paging::WINDOW, 0x8000_0000_0000, !0, 0xfee0_0000, 0xdead_0000_0000_0000] {
                $(
                    // SAFETY: it faults.
                    let by = unsafe { attempt!($instruction, in("rcx") at, inout("rax") 0u64 => _) };
                    same!(raised(by), UD, "{} at {at:#x}", $instruction);
                )+
            }
        };
    }
    let _ = paging::map(0, 0);
    undefined_at!(
        "vmxon [rcx]" "vmclear [rcx]" "vmptrld [rcx]" "vmptrst [rcx]" "vmread [rcx], rax" "vmwrite rax, [rcx]"
        "invept rax, [rcx]" "invvpid rax, [rcx]"
    );
    Ok(())
}

fn an_instruction_that_is_half_there_is_a_page_fault() -> Verdict {
    /// A fetch, by ring 0, from a page that is not there: without NXE and SMEP the error code does not say that it is one.
    const FETCH: u64 = 0;
    static CODE: guests::start::Pages<4096> = guests::start::Pages::new();
    let code = paging::map(0, CODE.address() | paging::PRESENT | paging::WRITE);
    let hole = paging::map(1, 0);
    for bytes in VMX.iter().chain(&SMX_AND_SGX) {
        let from = CODE.address() + 4096 - (bytes.len() as u64 - 1);
        for (at, byte) in (from..CODE.address() + 4096).zip(*bytes) {
            // SAFETY: a page of this guest's own.
            unsafe { (at as *mut u8).write_volatile(*byte) };
        }
        let start = code + 4096 - (bytes.len() as u64 - 1);
        // SAFETY: it faults.
        let by = unsafe { attempt!("jmp {start}", start = in(reg) start) };
        let Err(trap) = by else {
            return Err(guests::verdict::broken(
                file!(),
                line!(),
                format_args!("{bytes:02x?} came through"),
            ));
        };
        same!(
            (trap.vector, trap.error_code & 1, trap.cr2),
            (vector::PF, FETCH, hole),
            "{bytes:02x?}"
        );
        same!(trap.rip, start, "{bytes:02x?}");
    }
    Ok(())
}

fn registers_stay_as_they_were() -> Verdict {
    let values = [
        0x1111_2222_3333_4444u64,
        0x5555_6666_7777_8888,
        0x9999_aaaa_bbbb_cccc,
    ];
    macro_rules! unchanged {
        ($($instruction:literal)+) => {
            $(
                let (mut a, mut c, mut d) = (values[0], values[1], values[2]);
                let before = cpu::rflags();
                // SAFETY: it faults.
                let by = unsafe { attempt!($instruction, inout("rax") a, inout("rcx") c, inout("rdx") d) };
                same!([a, c, d], values, $instruction);
                // The arithmetic flags say whether a VMX instruction has worked.
                same!(by.map_err(|trap| (trap.vector, (trap.rflags ^ before) & 0x8d5)), Err((vector::UD, 0)), $instruction);
            )+
        };
    }
    unchanged!("vmcall" "vmlaunch" "vmxoff" "vmread rax, rcx" "vmwrite rax, rcx" "vmfunc" "getsec" "vmxon [rsp]" "invept rax, [rsp]");
    Ok(())
}

fn vmxe_and_smxe_are_refused_in_every_mode() -> Verdict {
    modes::prepare();
    // MOV CR4, EAX
    let write = [0x0f, 0x22, 0xe0];
    for bits in [Cr4::VMXE, Cr4::SMXE, Cr4::VMXE | Cr4::SMXE] {
        for mode in Mode::ALL {
            let registers = Registers {
                eax: (cpu::cr4() | bits.bits()) as u32,
                ..Registers::default()
            };
            let found = modes::attempt_with(mode, &write, registers);
            same!(found.raised, GP0, "{bits:?} in {mode:?}");
        }
        same!(cpu::cr4() & bits.bits(), 0, "CR4 after {bits:?}");
    }
    Ok(())
}

/// IA32_FEATURE_CONTROL, IA32_SMM_MONITOR_CTL, SGX's launch key and status, VMX's capabilities and what may follow them, SVM's.
const ABSENT: [core::ops::RangeInclusive<u32>; 7] = [
    0x3a..=0x3a,
    0x8c..=0x8f,
    0x9b..=0x9b,
    0x480..=0x49f,
    0x500..=0x501,
    0x300..=0x300,
    0xc001_0114..=0xc001_0119,
];

fn their_registers_are_absent() -> Verdict {
    modes::prepare();
    for number in ABSENT.into_iter().flatten() {
        same!(raised(msr::read(Msr(number))), GP0, "RDMSR {number:#x}");
        for value in [0, 1, 5, u64::MAX] {
            same!(
                raised(msr::write(Msr(number), value)),
                GP0,
                "WRMSR {number:#x} of {value:#x}"
            );
        }
        for mode in [
            Mode::LongUser,
            Mode::Compatibility,
            Mode::Real,
            Mode::Virtual8086,
            Mode::Protected,
        ] {
            let registers = Registers {
                ecx: number,
                ..Registers::default()
            };
            for bytes in [[0x0f, 0x32], [0x0f, 0x30]] {
                let found = modes::attempt_with(mode, &bytes, registers);
                same!(found.raised, GP0, "{bytes:02x?} of {number:#x} in {mode:?}");
            }
        }
    }
    Ok(())
}

fn efer_svme_is_refused() -> Verdict {
    let before = msr::read(spec::msr::EFER)?;
    for bit in [12, 13, 14, 15] {
        same!(
            raised(msr::write(spec::msr::EFER, before | 1 << bit)),
            GP0,
            "bit {bit}"
        );
    }
    same!(msr::read(spec::msr::EFER)?, before);
    Ok(())
}

fn a_thousand_in_a_row_are_a_thousand_faults() -> Verdict {
    modes::prepare();
    let mut random = Random::new(16);
    for n in 0..1000 {
        let mode = Mode::ALL[random.below(4) as usize];
        let bytes = VMX[random.below(VMX.len() as u64) as usize];
        same!(
            modes::attempt(mode, bytes),
            UD,
            "{n}: {bytes:02x?} in {mode:?}"
        );
    }
    Ok(())
}
