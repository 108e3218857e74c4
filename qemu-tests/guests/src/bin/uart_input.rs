//! Input from the outside, by interrupt, while the processor sleeps.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use guests::cpu::{cli, sti_hlt};
use guests::slot::Slot;
use guests::uart::{PIN, read, write};
use guests::verdict::Verdict;
use guests::{claim, guest, interrupt, ioapic, lapic, say};
use spec::ioapic::Redirection;
use spec::uart::{Ier, Lsr, offset};

guest!(
    a_line_of_input_arrives_by_interrupt,
    more_than_the_fifo_holds_arrives_whole
);

const VECTOR: u8 = 0x39;
const MOST: usize = 1024;

static LENGTH: AtomicUsize = AtomicUsize::new(0);
static HEARD: [Slot<u8>; MOST] = [const { Slot::new(0) }; MOST];

/// The handler: takes what is there.
fn receive(_: u8) {
    while read(offset::LSR) & Lsr::DATA.bits() != 0 {
        let byte = read(offset::DATA);
        let at = LENGTH.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = HEARD.get(at) {
            slot.set(byte);
        }
    }
}

fn line(prompt: &str) -> Result<usize, guests::verdict::Broken> {
    lapic::enable()?;
    interrupt::forget();
    interrupt::also(receive);
    LENGTH.store(0, Ordering::Relaxed);
    ioapic::route(PIN, Redirection::from_bits_retain(VECTOR.into()));
    write(offset::IER, Ier::DATA.bits());
    say!("guest: {prompt}");
    loop {
        cli();
        let length = LENGTH.load(Ordering::Relaxed);
        if length > 0 && HEARD.get(length - 1).is_none_or(|last| last.get() == b'\n') {
            write(offset::IER, 0);
            return Ok(length);
        }
        sti_hlt();
    }
}

fn a_line_of_input_arrives_by_interrupt() -> Verdict {
    let length = line("speak")?;
    claim!(
        HEARD[..length].iter().map(Slot::get).eq(*b"hello, guest\n"),
        "heard {length} bytes, others"
    );
    Ok(())
}

fn more_than_the_fifo_holds_arrives_whole() -> Verdict {
    let length = line("go on")?;
    claim!(length == 401, "heard {length} bytes");
    let wrong = HEARD[..400]
        .iter()
        .enumerate()
        .find(|(n, slot)| slot.get() != b'a' + (n % 26) as u8);
    claim!(
        wrong.is_none(),
        "byte {:?} is another",
        wrong.map(|(n, _)| n)
    );
    claim!(interrupt::count(VECTOR) > 1, "all in one interrupt");
    Ok(())
}
