use super::*;

#[test]
fn each_stub_pushes_its_own_vector() {
    for v in 0..=255u8 {
        // SAFETY: reads the code of a stub of this test binary.
        let code = unsafe { *(stub_address(v) as *const [u8; 16]) };
        let own_error = matches!(v, 8 | 10..=14);
        let push = if own_error { 0 } else { 2 };
        assert_eq!(code[push], 0x68, "vector {v}");
        let n: [u8; 4] = [
            code[push + 1],
            code[push + 2],
            code[push + 3],
            code[push + 4],
        ];
        assert_eq!(u32::from_le_bytes(n), u32::from(v));
    }
}
#[test]
fn each_gap_ends_with_the_instruction_that_it_guards() {
    let last = |gap: crate::gap::Gap, n: usize| {
        // SAFETY: reads code of this test binary.
        unsafe { core::slice::from_raw_parts((gap.to as *const u8).sub(n), n) }
    };
    let [hlt, mwait] = crate::idle::gaps();
    assert_eq!(last(crate::entry::gap(), 3), [0x0f, 0x01, 0xc2], "VMLAUNCH");
    assert_eq!(last(hlt, 1), [0xf4], "HLT");
    assert_eq!(last(mwait, 3), [0x0f, 0x01, 0xc9], "MWAIT");
}

#[test]
fn where_interrupts_are_open_all_that_a_local_apic_can_raise_is_an_interrupt() {
    const OPEN: u64 = 0x202;
    for v in 16..=255 {
        assert_eq!(kind(Vector(v), OPEN, || false), Kind::Interrupt, "{v}");
    }
    assert_eq!(kind(vector::MC, OPEN, || true), Kind::Exception);
    assert_eq!(kind(SPURIOUS, OPEN, || false), Kind::Spurious);
    for v in (0..16).filter(|&v| v != SPURIOUS.0) {
        assert_eq!(kind(Vector(v), OPEN, || false), Kind::Exception, "{v}");
    }
}

#[test]
fn where_interrupts_are_masked_a_vector_below_32_is_an_exception() {
    for v in 0..32 {
        assert_eq!(kind(Vector(v), 0x46, || false), Kind::Exception, "{v}");
    }
}

#[test]
fn an_exception_with_an_error_code_is_told_from_an_interrupt_and_reported_right() {
    for v in 0..32 {
        // As its stub leaves it: zero for the error code, and all that the processor pushed one word too early.
        let mut frame = Frame {
            gprs: Gprs::default(),
            vector: v,
            error_code: 0,
            rip: 0xec,
            cs: 0xffff_8000_0000_1234,
            rflags: 8,
            rsp: 0x46,
            ss: 0xffff_8000_0000_8000,
        };
        if !may_bring_error_code(v) {
            continue;
        }
        assert_eq!(
            kind(Vector(v as u8), frame.rflags, || false),
            Kind::Exception
        );
        frame.find_error_code();
        assert_eq!((frame.error_code, frame.rip), (0xec, 0xffff_8000_0000_1234));
        assert_eq!((frame.cs, frame.rflags), (8, 0x46));
        assert_eq!(frame.rsp, 0xffff_8000_0000_8000);
    }
}
