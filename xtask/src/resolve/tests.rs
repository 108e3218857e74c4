use super::*;

/// What is looked for in the program that runs this test.
#[inline(never)]
fn somebody() -> usize {
    // Called, not inlined, and not at its end.
    let len = std::hint::black_box(String::from("a call")).len();
    std::hint::black_box(len) + 1
}

/// This program, where it is loaded, and the address behind the first call in [`somebody`].
fn own() -> (std::path::PathBuf, u64, u64) {
    let path = std::env::current_exe().unwrap();
    let at = somebody as *const () as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let shown = path.display().to_string();
    let first = maps.lines().find(|line| line.ends_with(&shown)).unwrap();
    let base = u64::from_str_radix(first.split('-').next().unwrap(), 16).unwrap();
    let program = Program::open(&path).unwrap();
    let behind = (at - base..).find(|a| program.follows_call(*a)).unwrap();
    (path, base, behind)
}

fn report(base: u64, callers: &[u64]) -> String {
    let callers: String = callers.iter().map(|at| format!(" {at:#x}")).collect();
    format!(
        "   99 0 - info bulkhead: machine: up\r\n  123 1 - error bulkhead: machine: panic at a.rs:1:2: oh\r\n  \
         123 1 - error bulkhead: machine: serves vm=web vcpu=1\r\n  \
         123 1 - error bulkhead: machine: image={base:#x} stack=0xfffffd0000001000\r\n  \
         123 1 - error bulkhead: machine: callers{callers}\r\n  123 1 - error bulkhead: machine: stopped\r\n"
    )
}

#[test]
fn a_return_address_is_named_with_its_file_and_line() {
    let (path, base, behind) = own();
    let text = resolve(&report(base, &[behind]), &path).unwrap().unwrap();
    assert!(
        text.starts_with("panic at a.rs:1:2: oh\nserves vm=web vcpu=1\n"),
        "{text}"
    );
    assert!(
        text.contains("xtask::resolve::tests::somebody  xtask/src/resolve/tests.rs:"),
        "{text}"
    );
    assert!(!text.contains("another build"), "{text}");
}

#[test]
fn what_does_not_come_after_a_call_is_left_out_and_the_rest_of_it_suspect() {
    let (path, base, behind) = own();
    let start = somebody as *const () as u64 - base;
    let text = resolve(&report(base, &[start, behind]), &path)
        .unwrap()
        .unwrap();
    assert_eq!(text.matches("tests::somebody").count(), 1, "{text}");
    let text = resolve(&report(base, &[start, start, behind]), &path)
        .unwrap()
        .unwrap();
    assert!(text.contains("is of another build"), "{text}");
}

#[test]
fn the_place_of_an_exception_is_named_itself() {
    let (path, base, _) = own();
    let at = somebody as *const () as u64;
    let log = report(base, &[]).replace(
        "panic at a.rs:1:2: oh",
        &format!("panic host exception vector=14 error=0x0 rip={at:#x} rsp=0x0"),
    );
    let text = resolve(&log, &path).unwrap().unwrap();
    assert!(text.contains("tests::somebody"), "{text}");
}

#[test]
fn the_report_of_a_panic_that_ended_one_vm_is_resolved_too() {
    let (path, base, behind) = own();
    let log = report(base, &[behind])
        .replace("machine: panic", "vm: vcpu=1 panic")
        .replace("machine:", "vm:");
    let text = resolve(&log, &path).unwrap().unwrap();
    assert!(text.starts_with("vcpu=1 panic at a.rs:1:2: oh"), "{text}");
    assert!(text.contains("tests::somebody"), "{text}");
}

#[test]
fn a_log_without_a_report_has_nothing_to_resolve() {
    let log = "  1 0 - error bulkhead: refused: no VT-x\r\ncallers 0x1000\r\n";
    assert!(resolve(log, Path::new("/nowhere")).unwrap().is_none());
}
