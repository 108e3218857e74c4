use super::*;

#[test]
fn a_guest_gets_no_more_than_vector_and_mask_into_the_lvt_timer() {
    let deadline = Lvt::TSC_DEADLINE.bits();
    let masked = Lvt::MASKED.bits();
    assert_eq!(lent_timer(deadline | 0xec), deadline | 0xec);
    assert_eq!(
        lent_timer(deadline | masked | 0xec),
        deadline | masked | 0xec
    );
    assert_eq!(lent_timer(u32::MAX), deadline | masked | 0xff);
    for delivery in 0..8 {
        assert_eq!(
            lent_timer(deadline | delivery << 8 | 0x31),
            deadline | 0x31,
            "delivery mode {delivery}"
        );
    }
    for mode in [0, Lvt::PERIODIC.bits(), Lvt::PERIODIC.bits() | deadline] {
        assert_eq!(lent_timer(mode | 0x31), deadline | masked | 0x31);
    }
    assert_eq!(lent_timer(deadline | 15), deadline | masked | 15);
    assert_eq!(lent_timer(deadline | 16), deadline | 16);
}

#[test]
fn a_guest_gets_no_more_than_vector_and_enable_flag_into_svr() {
    assert_eq!(lent_svr(u32::MAX), 0x1ff);
    assert_eq!(lent_svr(0x11_0e_f1), 0xf1);
}

#[test]
fn eight_words_make_one_set_and_the_highest_vector_is_found() {
    for v in 0..=255u8 {
        let words = |word: u8| {
            // Vector 16 is always there, so a higher one has to be preferred.
            let bit = |vector: u8| u32::from(vector / 32 == word) << (vector % 32);
            bit(v) | bit(16)
        };
        let set = gather(words);
        assert!(contains(&set, Vector(v)) && contains(&set, Vector(16)));
        assert!(vectors(&set).all(|w| w.0 == v || w.0 == 16));
        assert_eq!(highest(words), Some(Vector(v.max(16))));
    }
    assert_eq!(highest(|_| 0), None);
}

#[test]
fn a_vector_that_no_interrupt_can_have_does_not_keep_a_drain_going() {
    assert_eq!(highest(|word| if word == 0 { 0xffff } else { 0 }), None);
}

#[test]
fn a_set_gives_back_what_was_put_in() {
    let mut set = [0; 4];
    for v in [16, 63, 64, 255] {
        insert(&mut set, Vector(v));
    }
    assert!(vectors(&set).map(|v| v.0).eq([16, 63, 64, 255]));
    remove(&mut set, Vector(64));
    assert!(vectors(&set).map(|v| v.0).eq([16, 63, 255]));
}

#[test]
fn a_deadline_that_passed_is_raised_once() {
    let mut state = PhysicalApic {
        lvt_timer: Lvt::TSC_DEADLINE.bits() | 0xec,
        deadline: 1000,
        ..PhysicalApic::default()
    };
    assert_eq!(left(&state, Ticks(999)), 1000, "yet to come");
    assert_eq!(left(&state, Ticks(1000)), 1000, "stopped before it fired");
    insert(&mut state.irr, Vector(0xec));
    assert_eq!(left(&state, Ticks(1000)), 0, "fired");
    assert_eq!(
        left(&state, Ticks(999)),
        1000,
        "armed again while its last one waits"
    );
}
