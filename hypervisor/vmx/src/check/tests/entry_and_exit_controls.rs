use super::*;

#[test]
fn vm_exit_controls() {
    const EXIT: u64 = 0x003f_efff;
    assert_eq!(prepared(Long).get(EXIT_CONTROLS), EXIT);
    run(&[
        (
            Long,
            &[(EXIT_CONTROLS, EXIT & !1)],
            EXIT_CONTROLS,
            "reserved controls must be set as the capability MSR says",
        ),
        (
            Long,
            &[(PIN_CONTROLS, 0x3f), (EXIT_CONTROLS, EXIT | 1 << 22)],
            EXIT_CONTROLS,
            "saving the preemption timer needs the timer",
        ),
        (
            Long,
            &[(EXIT_MSR_STORE_COUNT, 1), (EXIT_MSR_STORE_ADDRESS, 8)],
            EXIT_MSR_STORE_ADDRESS,
            ALIGNED,
        ),
        (
            Long,
            &[(EXIT_MSR_LOAD_COUNT, 1), (EXIT_MSR_LOAD_ADDRESS, BEYOND)],
            EXIT_MSR_LOAD_ADDRESS,
            PHYSICAL,
        ),
        (
            Long,
            &[
                (EXIT_MSR_LOAD_COUNT, 2),
                (EXIT_MSR_LOAD_ADDRESS, BEYOND - 16),
            ],
            EXIT_MSR_LOAD_COUNT,
            "the last byte of the MSR area must not exceed the physical-address width",
        ),
    ]);
}

#[test]
fn vm_entry_controls() {
    const ENTRY: u64 = 0xd3ff;
    assert_eq!(prepared(Long).get(ENTRY_CONTROLS), ENTRY);
    const INFO: Field = ENTRY_INTERRUPTION_INFO;
    const VALID: u64 = 1 << 31;
    run(&[
        (
            Long,
            &[(ENTRY_CONTROLS, ENTRY & !1)],
            ENTRY_CONTROLS,
            "reserved controls must be set as the capability MSR says",
        ),
        (
            Long,
            &[(INFO, VALID | 1 << 8)],
            INFO,
            "the event's type must be defined",
        ),
        (
            Long,
            &[(INFO, VALID | 2 << 8 | 3)],
            INFO,
            "the event's vector must fit its type",
        ),
        (
            Long,
            &[(INFO, VALID | 3 << 8 | 32)],
            INFO,
            "the event's vector must fit its type",
        ),
        (
            Long,
            &[(INFO, VALID | 7 << 8 | 1)],
            INFO,
            "the event's vector must fit its type",
        ),
        (
            Long,
            &[(INFO, VALID | 3 << 8 | 13)],
            INFO,
            "an error code goes with exceptions that push one, in protected mode",
        ),
        (
            Long,
            &[(INFO, VALID | 1 << 11 | 3 << 8 | 6)],
            INFO,
            "an error code goes with exceptions that push one, in protected mode",
        ),
        (
            Real,
            &[(INFO, VALID | 1 << 11 | 3 << 8 | 13)],
            INFO,
            "an error code goes with exceptions that push one, in protected mode",
        ),
        (
            Long,
            &[(INFO, VALID | 1 << 12 | 3 << 8 | 6)],
            INFO,
            "bits 30:12 of the event must be 0",
        ),
        (
            Long,
            &[
                (INFO, VALID | 1 << 11 | 3 << 8 | 13),
                (ENTRY_ERROR_CODE, 0x1_0000),
            ],
            ENTRY_ERROR_CODE,
            "bits 31:16 of the error code must be 0",
        ),
        (
            Long,
            &[
                (INFO, VALID | 4 << 8 | 0x80),
                (ENTRY_INSTRUCTION_LENGTH, 16),
            ],
            ENTRY_INSTRUCTION_LENGTH,
            "the instruction of a software event has 1 to 15 bytes",
        ),
        (
            Long,
            &[(ENTRY_MSR_LOAD_COUNT, 1), (ENTRY_MSR_LOAD_ADDRESS, 8)],
            ENTRY_MSR_LOAD_ADDRESS,
            ALIGNED,
        ),
        (
            Long,
            &[(ENTRY_CONTROLS, ENTRY | 1 << 10)],
            ENTRY_CONTROLS,
            "outside SMM no entry goes to SMM or ends the dual-monitor treatment",
        ),
    ]);
    let mut vmcs = prepared(Real);
    vmcs.set(INFO, event(EventKind::HardwareException, 13, false));
    assert_eq!(
        failures(&vmcs, &generous()),
        [],
        "#GP in real mode has no error code"
    );
}

#[test]
fn a_software_event_of_length_zero_needs_the_capability() {
    let mut vmcs = prepared(Long);
    vmcs.set(
        ENTRY_INTERRUPTION_INFO,
        event(EventKind::SoftwareInterrupt, 0x80, false),
    );
    let mut capabilities = generous();
    assert_eq!(failures(&vmcs, &capabilities), []);
    capabilities.misc.0 &= !(1 << 30);
    let found = failures(&vmcs, &capabilities);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, ENTRY_INSTRUCTION_LENGTH);
}
