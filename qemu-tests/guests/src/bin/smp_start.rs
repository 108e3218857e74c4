//! INIT and start-up IPIs: where a processor starts, with what in its registers, and what stops it.
#![no_std]
#![no_main]
// UNSAFETY: the code at which the processors start, and what it leaves in low memory.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm};
use guests::smp::{self, ASSERT, INIT, OTHERS, START_UP, others, until};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, lapic, msr, same};
use spec::apic::{Icr, register};

guest!(
    each_starts_in_real_mode_at_its_page,
    registers_are_as_after_a_reset,
    a_second_start_up_is_ignored,
    an_init_stops_a_running_one,
    an_init_stops_a_halted_one_and_a_start_up_starts_it,
    an_init_level_deassert_is_nothing,
    one_starts_again_a_hundred_times,
    the_first_start_up_after_an_init_counts,
    all_others_start_by_shorthand,
    what_init_keeps_is_kept_and_the_rest_is_not,
    an_init_leaves_x2apic_mode_on,
);

/// The page at which the processor `n` starts, and another one.
const fn page(n: usize) -> u64 {
    0x9_0000 + ((n as u64) << 12)
}
const fn other_page(n: usize) -> u64 {
    0x6_0000 + ((n as u64) << 12)
}
/// Below 64 KiB, where every segment register reaches it after a reset.
const MARK: u64 = 0xe000;

// What it finds it stores in its own page, by CS; then it counts up for good, or halts, with interrupts off.
global_asm!(
    ".balign 16",
    "{begin}:",
    ".code16",
    "mov cs:[0x800], eax; mov cs:[0x804], ebx; mov cs:[0x808], ecx; mov cs:[0x80c], edx",
    "mov cs:[0x810], esi; mov cs:[0x814], edi; mov cs:[0x818], ebp; mov cs:[0x81c], esp",
    "mov cs:[0x820], cs; mov cs:[0x824], ds; mov cs:[0x828], es; mov cs:[0x82c], ss",
    "mov cs:[0x830], fs; mov cs:[0x834], gs",
    "mov eax, ss:[0xe000]; mov cs:[0x838], eax",
    "mov ax, cs; mov ss, ax; mov sp, 0xff0",
    "pushfd; pop eax; mov cs:[0x83c], eax",
    "call look_ip",
    // SUB of a word from AX
    "look_ip: pop ax; .byte 0x2d; .word look_ip - {begin}",
    "movzx eax, ax; mov cs:[0x840], eax",
    "mov eax, cr0; mov cs:[0x844], eax; mov eax, cr2; mov cs:[0x848], eax",
    "mov eax, cr3; mov cs:[0x84c], eax; mov eax, cr4; mov cs:[0x850], eax",
    "mov eax, dr0; mov cs:[0x854], eax; mov eax, dr6; mov cs:[0x858], eax",
    "mov eax, dr7; mov cs:[0x85c], eax",
    "mov eax, ds:[0xe000]; mov cs:[0x860], eax; mov eax, es:[0xe000]; mov cs:[0x864], eax",
    "mov eax, fs:[0xe000]; mov cs:[0x868], eax; mov eax, gs:[0xe000]; mov cs:[0x86c], eax",
    // The limit of CS reaches to 64 KiB.
    "mov eax, cs:[0xfffc]",
    "sgdt cs:[0x870]; sidt cs:[0x878]",
    // The MSRs that the page's list names, and their low halves behind it.
    "mov si, 0x900",
    "3: mov ecx, cs:[si]; test ecx, ecx; jz 4f",
    "rdmsr; mov cs:[si + 0x100], eax; add si, 4; jmp 3b",
    "4: lock inc dword ptr cs:[0x700]",
    "5: cmp byte ptr cs:[0x708], 0; jne 6f",
    "inc dword ptr cs:[0x704]; pause; jmp 5b",
    "6: hlt; jmp 6b",
    ".code64",
    "{end}:",
    begin = sym look_begin,
    end = sym look_end,
);

unsafe extern "C" {
    fn look_begin();
    fn look_end();
}

const ARRIVALS: u64 = 0x700;
const BEATS: u64 = 0x704;
const HALT: u64 = 0x708;
const FOUND: u64 = 0x800;
const LIST: u64 = 0x900;

fn word(at: u64) -> u32 {
    // SAFETY: low memory that no one else uses.
    unsafe { (at as *const u32).read_volatile() }
}

fn set_word(at: u64, value: u32) {
    // SAFETY: as above.
    unsafe { (at as *mut u32).write_volatile(value) };
}

/// The word of what was found that the code has stored at this offset.
fn found(page: u64, offset: u64) -> u32 {
    word(page + FOUND + offset)
}

/// Makes a page ready.
fn ready(page: u64, halts: bool) {
    smp::place(page, look_begin, look_end);
    for at in [ARRIVALS, BEATS, LIST] {
        set_word(page + at, 0);
    }
    set_word(page + HALT, halts.into());
    set_word(MARK, 0x600d_600d);
}

fn start_up(n: usize, page: u64) {
    lapic::send(n as u32, START_UP | (page >> 12) as u32);
}

fn arrived(page: u64, times: u32) -> bool {
    until(|| word(page + ARRIVALS) == times)
}

fn beats(page: u64) -> bool {
    let before = word(page + BEATS);
    until(|| word(page + BEATS) != before)
}

/// Whether one that was stopped stays so: for the turns of all that share its core.
fn stands_still(page: u64) -> bool {
    // Until the message has arrived.
    let mut last = word(page + BEATS);
    let still = |last: &mut u32| {
        cpu::spin_until(cpu::tsc() + 1_000_000);
        word(page + BEATS) == core::mem::replace(last, word(page + BEATS))
    };
    until(|| still(&mut last)) && still(&mut last) && still(&mut last)
}

fn each_starts_in_real_mode_at_its_page() -> Verdict {
    lapic::enable()?;
    claim!(smp::count() > 1, "there is one processor");
    for n in others() {
        ready(page(n), false);
        start_up(n, page(n));
        claim!(arrived(page(n), 1), "processor {n} does not come");
    }
    for n in others() {
        same!(found(page(n), 0x20), (page(n) >> 4) as u32, "CS of {n}");
        same!(found(page(n), 0x40), 0, "IP of {n}");
        same!(found(page(n), 0x44), 0x6000_0010, "CR0 of {n}");
        same!(word(page(n) + ARRIVALS), 1, "arrivals of {n}");
    }
    Ok(())
}

/// SDM vol. 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"; `cr0` is what it keeps in bits.
fn as_after_reset(page: u64, cr0: u32) -> Verdict {
    let signature = cpu::cpuid(1, 0)[0];
    let expected = [
        ("EAX", 0, 0),
        ("EBX", 4, 0),
        ("ECX", 8, 0),
        ("EDX", 0xc, signature),
        ("ESI", 0x10, 0),
        ("EDI", 0x14, 0),
        ("EBP", 0x18, 0),
        ("ESP", 0x1c, 0),
        ("CS", 0x20, (page >> 4) as u32),
        ("DS", 0x24, 0),
        ("ES", 0x28, 0),
        ("SS", 0x2c, 0),
        ("FS", 0x30, 0),
        ("GS", 0x34, 0),
        ("by SS", 0x38, 0x600d_600d),
        ("EFLAGS", 0x3c, 2),
        ("IP", 0x40, 0),
        ("CR0", 0x44, cr0),
        ("CR2", 0x48, 0),
        ("CR3", 0x4c, 0),
        ("CR4", 0x50, 0),
        ("DR0", 0x54, 0),
        ("DR6", 0x58, 0xffff_0ff0),
        ("DR7", 0x5c, 0x400),
        ("by DS", 0x60, 0x600d_600d),
        ("by ES", 0x64, 0x600d_600d),
        ("by FS", 0x68, 0x600d_600d),
        ("by GS", 0x6c, 0x600d_600d),
        ("GDTR", 0x70, 0xffff),
        ("IDTR", 0x78, 0xffff),
    ];
    for (what, offset, value) in expected {
        same!(found(page, offset), value, "{what}");
    }
    Ok(())
}

fn registers_are_as_after_a_reset() -> Verdict {
    for n in others() {
        as_after_reset(page(n), 0x6000_0010)?;
    }
    Ok(())
}

fn a_second_start_up_is_ignored() -> Verdict {
    for n in others() {
        ready(other_page(n), false);
        start_up(n, other_page(n));
        claim!(beats(page(n)) && beats(page(n)), "{n} stopped");
        same!(
            word(other_page(n) + ARRIVALS),
            0,
            "arrivals of {n} elsewhere"
        );
        same!(word(page(n) + ARRIVALS), 1, "arrivals of {n}");
    }
    Ok(())
}

fn an_init_stops_a_running_one() -> Verdict {
    for n in others() {
        lapic::send(n as u32, INIT);
        claim!(stands_still(page(n)), "{n} runs on");
        start_up(n, other_page(n));
        claim!(arrived(other_page(n), 1), "{n} does not start again");
        same!(word(page(n) + ARRIVALS), 1, "arrivals of {n} before");
        as_after_reset(other_page(n), 0x6000_0010)?;
    }
    Ok(())
}

fn an_init_stops_a_halted_one_and_a_start_up_starts_it() -> Verdict {
    for n in others() {
        for _ in 0..2 {
            ready(page(n), true);
            lapic::send(n as u32, INIT);
            start_up(n, page(n));
            claim!(arrived(page(n), 1), "{n} does not start");
        }
    }
    Ok(())
}

fn an_init_level_deassert_is_nothing() -> Verdict {
    ready(page(1), false);
    lapic::send(1, INIT);
    start_up(1, page(1));
    claim!(arrived(page(1), 1), "it does not start");
    lapic::send(1, INIT & !ASSERT | Icr::LEVEL.bits());
    claim!(beats(page(1)) && beats(page(1)), "it stopped");
    same!(word(page(1) + ARRIVALS), 1);
    Ok(())
}

fn one_starts_again_a_hundred_times() -> Verdict {
    let n = smp::count() - 1;
    for times in 0..100 {
        // It runs or is halted in turn, and here and there gets INIT and start-up apart.
        let at = if times % 2 == 0 {
            page(n)
        } else {
            other_page(n)
        };
        ready(at, times % 4 < 2);
        lapic::send(n as u32, INIT);
        if times % 3 == 0 {
            cpu::spin_until(cpu::tsc() + 10_000);
        }
        start_up(n, at);
        claim!(arrived(at, 1), "start {times}");
    }
    Ok(())
}

fn the_first_start_up_after_an_init_counts() -> Verdict {
    for _ in 0..10 {
        ready(page(1), false);
        ready(other_page(1), false);
        lapic::send(1, INIT);
        start_up(1, page(1));
        start_up(1, other_page(1));
        claim!(arrived(page(1), 1), "it does not come");
        claim!(beats(page(1)), "it stopped");
        same!(word(other_page(1) + ARRIVALS), 0, "arrivals by the second");
    }
    Ok(())
}

fn all_others_start_by_shorthand() -> Verdict {
    ready(page(0), false);
    lapic::send(0, OTHERS | INIT);
    lapic::send(0, OTHERS | START_UP | (page(0) >> 12) as u32);
    let all = others().len() as u32;
    claim!(
        arrived(page(0), all),
        "{} of {all} came",
        word(page(0) + ARRIVALS)
    );
    smp::start()
}

/// What is set before the INIT, and read after it by its number: its value then.
const MSRS: [(u32, u64, u64); 9] = [
    (spec::msr::STAR.0, 0x1234, 0x1234),
    (spec::msr::LSTAR.0, 0x5678, 0x5678),
    (spec::msr::FMASK.0, 0x200, 0x200),
    (spec::msr::KERNEL_GS_BASE.0, 0x9abc, 0x9abc),
    (spec::msr::SYSENTER_EIP.0, 0xdef0, 0xdef0),
    (spec::msr::PAT.0, 0x0606_0606_0606_0606, 0x0606_0606),
    (spec::msr::FS_BASE.0, 0x1357, 0),
    (spec::msr::GS_BASE.0, 0x2468, 0),
    (spec::msr::EFER.0, 0x501, 0),
];

fn what_init_keeps_is_kept_and_the_rest_is_not() -> Verdict {
    for n in others() {
        smp::on(n, set_all, 0)?;
        ready(page(n), false);
        for (i, (number, _, _)) in MSRS.iter().enumerate() {
            set_word(page(n) + LIST + 4 * i as u64, *number);
        }
        set_word(page(n) + LIST + 4 * MSRS.len() as u64, 0);
        lapic::send(n as u32, INIT);
        start_up(n, page(n));
        claim!(arrived(page(n), 1), "{n} does not start");
        // CD and NW were clear, and stay so.
        as_after_reset(page(n), 0x10)?;
        for (i, (number, _, after)) in MSRS.iter().enumerate() {
            let is = word(page(n) + LIST + 0x100 + 4 * i as u64);
            same!(is, *after as u32, "MSR {number:#x} of {n}");
        }
    }
    Ok(())
}

fn set_all(_: u64) -> u64 {
    for (number, before, _) in MSRS {
        msr::write_plain(spec::Msr(number), before);
    }
    // SAFETY: no breakpoint is enabled, and the carry and CR2 mean nothing.
    unsafe {
        asm!("mov dr0, {v}", "mov cr2, {v}", "mov cr4, {c}", v = in(reg) 0x4321u64, c = in(reg) 0x6a0u64);
    }
    0
}

fn an_init_leaves_x2apic_mode_on() -> Verdict {
    smp::start()?;
    smp::enter_x2apic()?;
    let list = [
        spec::msr::APIC_BASE.0,
        lapic::msr_of(register::ID).0,
        lapic::msr_of(register::SVR).0,
        0,
    ];
    for n in others() {
        ready(page(n), false);
        for (i, number) in list.iter().enumerate() {
            set_word(page(n) + LIST + 4 * i as u64, *number);
        }
        lapic::send(n as u32, INIT);
        start_up(n, page(n));
        claim!(arrived(page(n), 1), "{n} does not start");
        let is = |i: u64| word(page(n) + LIST + 0x100 + 4 * i);
        same!(is(0), 0xfee0_0c00, "IA32_APIC_BASE of {n}");
        same!(is(1), n as u32, "APIC id");
        same!(is(2), 0xff, "SVR of {n}");
    }
    smp::start()
}
