//! A guest that works and looks whether anything has touched it: its memory, the registers that move with a vCPU, its time.
//!
//! ```text
//! steady: start id=1 tsc_hz=50000000
//! steady: second=1 rounds=5120 ticks=1000 worst_ticks=2100
//! steady: done seconds=3 rounds=15400 failed=0
//! ```
//!
//! On the command line: `id=` makes its marks its own, `seconds=` ends it after so many, which else a key does; of each 16 ms it
//! halts for as many as `rests=` says.
#![no_std]
#![no_main]
// UNSAFETY: marks in memory and in registers.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::{cmdline, cpu, interrupt, lapic, msr, program, say, uart};
use spec::apic::Lvt;
use spec::uart::{Lsr, offset};

program!(main);

/// All of RAM that is not in use: from 2 MiB on.
const FREE: core::ops::Range<u64> = 0x20_0000..0x100_0000;
/// What is looked through in a round.
const STEP: u64 = 4096;
const VECTOR: u8 = 0x60;
/// Ticks of the guest's own a second.
const RATE: u64 = 1000;

static PERIOD: AtomicU64 = AtomicU64::new(0);
static DEADLINE: AtomicU64 = AtomicU64::new(0);
static TICKS: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicU64 = AtomicU64::new(0);

fn on_tick(vector: u8) {
    if vector != VECTOR {
        return;
    }
    let deadline = DEADLINE.load(Ordering::Relaxed);
    let late = cpu::tsc().saturating_sub(deadline);
    WORST.fetch_max(late, Ordering::Relaxed);
    TICKS.fetch_add(1, Ordering::Relaxed);
    let period = PERIOD.load(Ordering::Relaxed);
    let next = deadline + period * (late / period + 1);
    DEADLINE.store(next, Ordering::Relaxed);
    let _ = msr::write(spec::msr::TSC_DEADLINE, next);
}

/// A value that no other guest has, nor this one elsewhere.
fn mark(id: u64, at: u64) -> u64 {
    (at ^ id << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Switches SSE and AVX on.
fn enable_vectors() {
    // SAFETY: sets bits that say how vector registers are used; nothing here has used any yet.
    unsafe {
        asm!(
            "mov {cr}, cr4",
            "or {cr}, 0x40600",
            "mov cr4, {cr}",
            "xor ecx, ecx",
            "xor edx, edx",
            "mov eax, 7",
            "xsetbv",
            cr = out(reg) _, out("eax") _, out("ecx") _, out("edx") _,
        );
    }
}

/// Puts marks where only a vCPU's own registers are: none of these is used by compiled code here.
fn set_registers(id: u64) {
    let low = mark(id, 1);
    let wide = [mark(id, 2), mark(id, 3), mark(id, 4), mark(id, 5)];
    // SAFETY: vector registers that nothing uses; addresses of breakpoints that are off; page faults do not happen.
    unsafe {
        asm!(
            "vmovdqu ymm0, [{wide}]",
            "vmovdqu ymm15, [{wide}]",
            "mov dr0, {low}",
            "mov dr3, {low}",
            "mov cr2, {low}",
            wide = in(reg) &wide, low = in(reg) low,
        );
    }
    for (msr, value) in model_registers(id) {
        let _ = msr::write(msr, value);
    }
}

/// Registers of the model that the hypervisor moves, canonical where that matters.
fn model_registers(id: u64) -> [(spec::Msr, u64); 5] {
    [
        (spec::msr::LSTAR, mark(id, 6) >> 17),
        (spec::msr::KERNEL_GS_BASE, mark(id, 7) >> 17),
        (spec::msr::SYSENTER_EIP, mark(id, 8) >> 17),
        (spec::msr::TSC_AUX, mark(id, 9) >> 32),
        (spec::msr::PAT, 0x0007_0406_0007_0400 | id & 1),
    ]
}

fn registers_are_mine(id: u64) -> bool {
    let mut wide = [[0u64; 4]; 2];
    let (dr0, dr3, cr2): (u64, u64, u64);
    // SAFETY: reads registers into our own memory.
    unsafe {
        asm!(
            "vmovdqu [{first}], ymm0",
            "vmovdqu [{second}], ymm15",
            "mov {dr0}, dr0",
            "mov {dr3}, dr3",
            "mov {cr2}, cr2",
            first = in(reg) &raw mut wide[0], second = in(reg) &raw mut wide[1],
            dr0 = out(reg) dr0, dr3 = out(reg) dr3, cr2 = out(reg) cr2,
        );
    }
    let own = [mark(id, 2), mark(id, 3), mark(id, 4), mark(id, 5)];
    wide == [own, own]
        && [dr0, dr3, cr2] == [mark(id, 1); 3]
        && model_registers(id)
            .iter()
            .all(|(msr, value)| msr::read(*msr) == Ok(*value))
}

/// Fills a piece of memory, or looks whether it is as it was filled.
fn fill(id: u64, from: u64) {
    for at in (from..from + STEP).step_by(8) {
        // SAFETY: RAM that holds nothing else.
        unsafe { (at as *mut u64).write_volatile(mark(id, at)) };
    }
}

fn is_filled(id: u64, from: u64) -> bool {
    let is_mine = |at: u64| {
        // SAFETY: RAM that holds nothing else.
        let value = unsafe { (at as *const u64).read_volatile() };
        value == mark(id, at)
    };
    (from..from + STEP).step_by(8).all(is_mine)
}

fn key() -> bool {
    uart::read(offset::LSR) & Lsr::DATA.bits() != 0
}

fn main() {
    let id = cmdline::number("id").unwrap_or(0);
    let seconds = cmdline::number("seconds");
    let rests = cmdline::number("rests").unwrap_or(0);
    let hz = cpu::tsc_hz();
    let period = hz / RATE;
    PERIOD.store(period.max(1), Ordering::Relaxed);
    for from in FREE.step_by(STEP as usize) {
        fill(id, from);
    }
    enable_vectors();
    set_registers(id);
    say!("steady: start id={id} tsc_hz={hz}");
    let timer = lapic::enable()
        .and_then(|()| lapic::enter_x2apic())
        .and_then(|()| lapic::set_timer(Lvt::TSC_DEADLINE, VECTOR));
    if timer.is_err() {
        say!("steady: fail there is no x2APIC");
        return;
    }
    interrupt::also(on_tick);
    let begun = cpu::tsc();
    DEADLINE.store(begun + period, Ordering::Relaxed);
    let _ = msr::write(spec::msr::TSC_DEADLINE, begun + period);

    let (mut failed, mut rounds, mut shown, mut shown_rounds) = (0u64, 0u64, 0, 0);
    let mut last = begun;
    let mut pieces = FREE.step_by(STEP as usize).cycle();
    while seconds.map_or_else(|| !key(), |seconds| shown < seconds) {
        let Some(from) = pieces.next() else { break };
        cpu::sti();
        let memory = is_filled(id, from);
        cpu::cli();
        let registers = registers_are_mine(id);
        let now = cpu::tsc();
        if !memory || !registers || now < last {
            failed += 1;
            if failed < 9 {
                say!(
                    "steady: fail at={from:#x} memory={memory} registers={registers} tsc={now} last={last}"
                );
            }
        }
        last = now;
        rounds += 1;
        // Others rest at other times.
        if (now / period.max(1) + 5 * id) % 16 < rests {
            cpu::sti_hlt();
        }
        if now - begun >= hz * (shown + 1) {
            // A paused guest has seconds in which it did nothing.
            shown = (now - begun) / hz;
            let (ticks, worst) = (
                TICKS.swap(0, Ordering::Relaxed),
                WORST.swap(0, Ordering::Relaxed),
            );
            // Its own words, each of which exits, shall not make it late.
            cpu::sti();
            say!(
                "steady: second={shown} rounds={} ticks={ticks} worst_ticks={worst}",
                rounds - shown_rounds
            );
            cpu::cli();
            shown_rounds = rounds;
        }
    }
    say!("steady: done seconds={shown} rounds={rounds} failed={failed}");
}
