//! What each processor has for itself, also where several take turns on one core.
#![no_std]
#![no_main]
// UNSAFETY: registers that nothing else here uses.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use guests::smp::{self, ASSERT, OTHERS, WORK};
use guests::vectors::{self, Area, Width};
use guests::verdict::{Verdict, figure};
use guests::{claim, cmdline, cpu, guest, lapic, msr, same};
use spec::Msr;
use spec::apic::register;
use spec::msr::ApicBase;

guest!(
    all_processors_come_up,
    cpuid_tells_each_its_own_id,
    cpuid_tells_of_as_many_as_there_are,
    the_first_alone_is_the_bootstrap_processor,
    each_has_vector_registers_of_its_own,
    each_has_an_xcr0_of_its_own,
    each_has_x87_registers_of_its_own,
    each_has_debug_registers_of_its_own,
    each_has_msrs_of_its_own,
    each_has_general_registers_of_its_own,
    each_has_a_task_priority_and_a_cr2_of_its_own,
);

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()?;
    smp::enter_x2apic()
}

/// Runs it on all at once, first so that they wait for each other spinning, then halted; each gives 0, or what it has found wrong.
#[track_caller]
fn all(task: smp::Task) -> Verdict {
    for halted in [false, true] {
        HALTED.store(halted, Ordering::Release);
        PASSED.store(0, Ordering::Release);
        for (n, wrong) in smp::everywhere(task, 0)?.into_iter().enumerate() {
            same!(wrong, 0, "on {n}, halted {halted}: what differs");
        }
    }
    Ok(())
}

static HALTED: AtomicBool = AtomicBool::new(false);
static PASSED: AtomicUsize = AtomicUsize::new(0);

/// Waits until all are here: so each that shares a core with others has been away from it.
#[inline(never)]
fn wait_for_all() {
    let mine = PASSED.fetch_add(1, Ordering::AcqRel) + 1;
    let all = mine.next_multiple_of(smp::count());
    let halted = HALTED.load(Ordering::Acquire);
    while PASSED.load(Ordering::Acquire) < all {
        if halted {
            cpu::sti_hlt();
        } else {
            core::hint::spin_loop();
        }
    }
    if halted && mine == all {
        lapic::send(0, ASSERT | OTHERS | u32::from(WORK));
    }
}

/// A number that no other processor has in this place.
fn pattern(place: u64) -> u64 {
    (smp::here() as u64 + 1 + 16 * place).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What was found wrong first; who finds something goes on, for the others wait for it.
struct Wrong(u64);

impl Wrong {
    fn note(&mut self, what: u64) {
        if self.0 == 0 {
            self.0 = what;
        }
    }
}

/// How often each goes round.
const ROUNDS: u64 = 4;

fn cpuid_tells_each_its_own_id() -> Verdict {
    for n in 0..smp::count() {
        let ids: smp::Task = |which| {
            u64::from(match which {
                0 => cpu::cpuid(1, 0)[1] >> 24,
                1 => cpu::cpuid(0xb, 0)[3],
                2 => cpu::cpuid(0xb, 1)[3],
                3 => cpu::cpuid(0xb, 2)[3],
                _ => lapic::read_here(register::ID),
            })
        };
        for which in 0..5 {
            let id = if n == 0 {
                ids(which)
            } else {
                smp::on(n, ids, which)?
            };
            same!(id, n as u64, "way {which}");
        }
    }
    Ok(())
}

fn cpuid_tells_of_as_many_as_there_are() -> Verdict {
    let count = smp::count() as u32;
    same!(Some(u64::from(count)), cmdline::number("vcpus"));
    let [shift, number, kind, _] = cpu::cpuid(0xb, 1);
    same!((number, kind), (count, 0x201), "the level of cores");
    claim!(
        count <= 1 << shift && count > 1 << shift >> 1,
        "shift {shift} for {count}"
    );
    same!(cpu::cpuid(0xb, 0), [0, 1, 0x100, 0], "the level of threads");
    let [beyond, none, ..] = cpu::cpuid(0xb, 2);
    same!((beyond, none), (0, 0), "a level beyond");
    let [_, ebx, _, edx] = cpu::cpuid(1, 0);
    claim!(
        ebx >> 16 & 0xff >= count,
        "room for {} ids",
        ebx >> 16 & 0xff
    );
    same!(edx >> 28 & 1, 1, "HTT");
    claim!(
        cpu::cpuid(4, 0)[0] >> 26 >= count - 1,
        "leaf 4: {:#x}",
        cpu::cpuid(4, 0)[0]
    );
    same!(
        cpu::cpuid(4, 0)[0] >> 14 & 0xfff,
        0,
        "who shares the first cache"
    );
    Ok(())
}

fn the_first_alone_is_the_bootstrap_processor() -> Verdict {
    let bases = smp::everywhere(|_| msr::read_plain(spec::msr::APIC_BASE), 0)?;
    for (n, base) in bases.into_iter().enumerate().take(smp::count()) {
        same!(
            base & ApicBase::BSP.bits() != 0,
            n == 0,
            "IA32_APIC_BASE of {n}: {base:#x}"
        );
    }
    Ok(())
}

fn each_has_vector_registers_of_its_own() -> Verdict {
    for width in vectors::widths() {
        WIDTH.store(width as u64, Ordering::Release);
        figure("vector_bits", 128 << width as u64);
        all(|_| {
            vectors::enable();
            let width = Width::from_number(WIDTH.load(Ordering::Acquire));
            let (mut area, mut back) = (Area::new(), Area::new());
            let mut wrong = Wrong(0);
            for round in 0..ROUNDS {
                area.fill(|place| pattern(place as u64 + 64 * round));
                // SAFETY: `enable` has switched them on.
                unsafe { vectors::load(&area, width) };
                wait_for_all();
                // SAFETY: as above.
                unsafe { vectors::store(&mut back, width) };
                let differs = area.differs(&back, width);
                wrong.note(differs.map_or(0, |place| place as u64 + 1));
            }
            wrong.0
        })?;
    }
    Ok(())
}
static WIDTH: AtomicU64 = AtomicU64::new(0);

fn each_has_an_xcr0_of_its_own() -> Verdict {
    if !vectors::has_xsave() {
        return Ok(());
    }
    all(|_| {
        vectors::enable();
        let mut wrong = Wrong(0);
        for round in 0..ROUNDS {
            let mine = if (smp::here() as u64 + round) & 1 == 0 {
                vectors::most()
            } else {
                3
            };
            vectors::set_xcr0(mine);
            wait_for_all();
            wrong.note((vectors::xcr0() != mine).into());
        }
        wrong.0
    })?;
    // What one has switched off keeps its value, and nobody sees it.
    all(|_| {
        vectors::enable();
        let (mut area, mut back) = (Area::new(), Area::new());
        let width = Width::Ymm;
        if vectors::most() & 4 == 0 {
            return 0;
        }
        area.fill(|place| pattern(place as u64));
        // SAFETY: `enable` has switched them on.
        unsafe { vectors::load(&area, width) };
        vectors::set_xcr0(1 | 2);
        wait_for_all();
        vectors::enable();
        // SAFETY: as above.
        unsafe { vectors::store(&mut back, width) };
        area.differs(&back, width)
            .map_or(0, |place| place as u64 + 1)
    })
}

fn each_has_x87_registers_of_its_own() -> Verdict {
    all(|_| {
        vectors::enable();
        let mut wrong = Wrong(0);
        for round in 0..ROUNDS {
            let value = pattern(round) >> 12;
            // Precision and rounding differ from one to the next.
            let control = 0x7f | (smp::here() as u16 & 3) << 10 | 0x200;
            let mxcsr = 0x1f80 | (smp::here() as u32 & 3) << 13;
            let (mut back, mut twice, mut control_back, mut mxcsr_back) = (0u64, 0u64, 0u16, 0u32);
            // SAFETY: x87 and MXCSR are used here alone.
            unsafe {
                asm!("fninit", "fldcw [{c}]", "fild qword ptr [{v}]", "fld st(0)", "fadd st(0), st(0)", "ldmxcsr [{m}]",
                    c = in(reg) &raw const control, v = in(reg) &raw const value, m = in(reg) &raw const mxcsr);
                wait_for_all();
                asm!("fnstcw [{c}]", "fistp qword ptr [{t}]", "fistp qword ptr [{v}]", "stmxcsr [{m}]",
                    c = in(reg) &raw mut control_back, t = in(reg) &raw mut twice, v = in(reg) &raw mut back,
                    m = in(reg) &raw mut mxcsr_back);
            }
            let found = [
                back == value,
                twice == 2 * value,
                control_back | 0x40 == control | 0x40,
                mxcsr_back == mxcsr,
            ];
            let differs = found.iter().position(|same| !same);
            wrong.note(differs.map_or(0, |at| at as u64 + 1));
        }
        wrong.0
    })
}

fn each_has_debug_registers_of_its_own() -> Verdict {
    all(|_| {
        let mut wrong = Wrong(0);
        for round in 0..ROUNDS {
            let values: [u64; 4] = core::array::from_fn(|n| pattern(round + n as u64) >> 17);
            // Kinds and lengths of breakpoints of which none is enabled.
            let dr7 = 0x400 | (smp::here() as u64 & 0xf) << 16;
            let dr6 = 0xffff_0ff0 | smp::here() as u64 & 0xf;
            let (mut back, dr6_back, dr7_back): ([u64; 4], u64, u64);
            // SAFETY: no breakpoint is enabled.
            unsafe {
                asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}", "mov dr6, {}", "mov dr7, {}",
                    in(reg) values[0], in(reg) values[1], in(reg) values[2], in(reg) values[3], in(reg) dr6, in(reg) dr7);
                wait_for_all();
                back = [0; 4];
                asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3", "mov {}, dr6", "mov {}, dr7",
                    out(reg) back[0], out(reg) back[1], out(reg) back[2], out(reg) back[3], out(reg) dr6_back,
                    out(reg) dr7_back);
                asm!("mov dr7, {}", in(reg) 0x400u64);
            }
            let differs = [back != values, dr6_back != dr6, dr7_back != dr7];
            wrong.note(
                (1..)
                    .zip(differs)
                    .find_map(|(n, differs)| differs.then_some(n))
                    .unwrap_or(0),
            );
        }
        cpu::clear_dr6();
        wrong.0
    })
}

/// Those that a processor keeps for itself, and which bits of a pattern each takes.
const MSRS: [(Msr, u64); 11] = [
    (spec::msr::STAR, u64::MAX),
    (spec::msr::LSTAR, 0x7fff_ffff_ffff),
    (spec::msr::CSTAR, 0x7fff_ffff_ffff),
    (spec::msr::FMASK, 0xffff_ffff),
    (spec::msr::KERNEL_GS_BASE, 0x7fff_ffff_ffff),
    (spec::msr::FS_BASE, 0x7fff_ffff_ffff),
    (spec::msr::GS_BASE, 0x7fff_ffff_ffff),
    (spec::msr::SYSENTER_CS, 0xffff),
    (spec::msr::SYSENTER_ESP, 0x7fff_ffff_ffff),
    (spec::msr::SYSENTER_EIP, 0x7fff_ffff_ffff),
    (spec::msr::TSC_AUX, 0xffff_ffff),
];

fn each_has_msrs_of_its_own() -> Verdict {
    all(|_| {
        let pat = msr::read_plain(spec::msr::PAT);
        let mut wrong = Wrong(0);
        for round in 0..ROUNDS {
            for (n, (msr, mask)) in (0..).zip(MSRS) {
                msr::write_plain(msr, pattern(16 * round + n) & mask);
            }
            let mine = if smp::here() & 1 == 0 {
                pat
            } else {
                pat ^ 4 << 56
            };
            msr::write_plain(spec::msr::PAT, mine);
            wait_for_all();
            for (n, (msr, mask)) in (0..).zip(MSRS) {
                if msr::read_plain(msr) != pattern(16 * round + n) & mask {
                    wrong.note(msr.0.into());
                }
            }
            let aux: u32;
            // SAFETY: reads a counter and TSC_AUX.
            unsafe {
                asm!("rdtscp", out("eax") _, out("edx") _, out("ecx") aux, options(nomem, nostack))
            };
            if u64::from(aux) != pattern(16 * round + 10) & 0xffff_ffff {
                wrong.note(1);
            }
            if msr::read_plain(spec::msr::PAT) != mine {
                wrong.note(spec::msr::PAT.0.into());
            }
        }
        msr::write_plain(spec::msr::PAT, pat);
        wrong.0
    })
}

fn each_has_general_registers_of_its_own() -> Verdict {
    let wrong = smp::everywhere(
        |_| {
            let seed = pattern(7);
            let until = cpu::tsc() + 1_000_000;
            let wrong: u64;
            // SAFETY: uses registers, all of which are named; the stack pointer tells itself.
            unsafe {
                asm!(
                    "mov r8, {s}; lea r9, [{s} + 1]; lea r10, [{s} + 2]; lea r11, [{s} + 3]; lea r12, [{s} + 4]",
                    "lea r13, [{s} + 5]; lea r14, [{s} + 6]; lea rdi, [{s} + 7]; mov r15, rsp",
                    "2: pause; rdtsc; shl rdx, 32; or rax, rdx; cmp rax, {until}; jb 2b",
                    "xor eax, eax",
                    "sub r8, {s}; or rax, r8; sub r9, {s}; dec r9; or rax, r9; sub r10, {s}; sub r10, 2; or rax, r10",
                    "sub r11, {s}; sub r11, 3; or rax, r11; sub r12, {s}; sub r12, 4; or rax, r12",
                    "sub r13, {s}; sub r13, 5; or rax, r13; sub r14, {s}; sub r14, 6; or rax, r14",
                    "sub rdi, {s}; sub rdi, 7; or rax, rdi; sub r15, rsp; or rax, r15",
                    s = in(reg) seed, until = in(reg) until, out("rax") wrong, out("rdx") _, out("r8") _, out("r9") _,
                    out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _, out("rdi") _,
                );
            }
            wrong
        },
        0,
    )?;
    for (n, wrong) in wrong.into_iter().enumerate() {
        same!(wrong, 0, "of {n}: what differs");
    }
    Ok(())
}

fn each_has_a_task_priority_and_a_cr2_of_its_own() -> Verdict {
    all(|_| {
        let mut wrong = Wrong(0);
        for round in 0..ROUNDS {
            let (class, address) = (smp::here() as u64 & 7, pattern(round) >> 17);
            cpu::set_cr8(class);
            // SAFETY: no page fault is under way.
            unsafe { asm!("mov cr2, {}", in(reg) address) };
            wait_for_all();
            wrong.note(u64::from(cpu::cr8() != class) + 2 * u64::from(cpu::cr2() != address));
            cpu::set_cr8(0);
        }
        wrong.0
    })
}
