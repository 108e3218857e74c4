use super::*;
use crate::{Exits, Format, Interrupts, Module, Recovery, Runs, Share, Smt, Vm};
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;

const KERNEL: &[u8] = &[0xaa; 5000];
const INITRD: &[u8] = &[0xbb; 17];

fn handover() -> Handover {
    Handover {
        plan: Plan {
            smt: Smt::Off,
            statistics: false,
            cyclic: vec![],
            vms: vec![Vm {
                name: "debian".to_string(),
                kernel: "debian/vmlinuz".to_string(),
                format: Format::Auto,
                initrd: Some("debian/initrd.img".to_string()),
                cmdline: "console=ttyS0".to_string(),
                modules: vec![],
                memory: 256 << 20,
                vcpus: 1,
                runs: Runs::Pool(Share::default()),
                interrupts: Interrupts::Auto,
                exits: Exits::Any,
                autostart: true,
                recovery: Recovery::default(),
                watchdog: Some(30_000_000_000),
            }],
        },
        files: vec![],
        tsc: Hz(2_600_000_000),
        clock: WallClock {
            unix_seconds: 1_795_228_496,
            at: Ticks(1 << 40),
        },
        cores: vec![Core {
            apic_id: 0,
            package: 0,
            core: 0,
            thread: 0,
            usable: true,
        }],
        cores_from: CoreSource::Madt,
        io_apics: vec![],
        isa_overrides: vec![],
        reset_system: Hpa(0x7f00_1234),
        runtime_memory: vec![MemorySpan {
            start: Hpa(0x7f00_0000),
            len: 0x2000,
        }],
    }
}

/// Makes a bundle as `boot` does: lays out, fills in place, seals.
fn pack(mut handover: Handover, files: &[(&str, &[u8])]) -> Vec<u8> {
    let spans = files.iter().map(|(p, b)| (p.to_string(), b.len() as u64));
    let len = handover.lay_out(spans).unwrap();
    let mut bundle = vec![0; usize::try_from(len).unwrap()];
    for (span, (_, content)) in handover.files.iter().zip(files) {
        let place = span.range(bundle.len()).unwrap();
        bundle[place].copy_from_slice(content);
    }
    handover.seal(&mut bundle).unwrap();
    bundle
}

fn good() -> Vec<u8> {
    pack(
        handover(),
        &[("debian/vmlinuz", KERNEL), ("debian/initrd.img", INITRD)],
    )
}

/// The bundle with its header replaced by `change`'s, at the same length or less.
fn changed(change: impl FnOnce(&mut Handover)) -> Vec<u8> {
    let mut bytes = good();
    let mut handover = Bundle::open(&bytes).unwrap().handover().clone();
    change(&mut handover);
    let header = postcard::to_allocvec(&handover).unwrap();
    bytes[12..16].copy_from_slice(&u32::try_from(header.len()).unwrap().to_le_bytes());
    bytes[16..16 + header.len()].copy_from_slice(&header);
    bytes
}

#[test]
fn what_was_packed_is_opened() {
    let bytes = good();
    let bundle = Bundle::open(&bytes).unwrap();
    assert_eq!(bundle.file("debian/vmlinuz"), Some(KERNEL));
    assert_eq!(bundle.file("debian/initrd.img"), Some(INITRD));
    assert_eq!(bundle.file("debian"), None);
    let mut expected = handover();
    expected.files = bundle.handover().files.clone();
    assert_eq!(bundle.handover(), &expected);
    assert!(expected.files.iter().all(|f| f.offset % 4096 == 0));
}

#[test]
fn a_bundle_without_files_is_its_header() {
    let mut plain = handover();
    plain.plan.vms.clear();
    let bytes = pack(plain, &[]);
    assert!(bytes.len() < 4096);
    assert!(Bundle::open(&bytes).is_ok());
}

#[test]
fn a_file_that_two_machines_name_is_listed_once() {
    let mut plan = handover().plan;
    let twin = Vm {
        name: "twin".to_string(),
        initrd: None,
        modules: ["debian/initrd.img", "twin/module"]
            .map(|path| Module {
                path: path.to_string(),
                cmdline: String::new(),
            })
            .to_vec(),
        ..plan.vms[0].clone()
    };
    plan.vms.push(twin);
    assert_eq!(
        plan.files(),
        ["debian/vmlinuz", "debian/initrd.img", "twin/module"]
    );
}

#[test]
fn sealing_needs_the_memory_that_was_laid_out() {
    let mut handover = handover();
    let len = handover.lay_out([("k".to_string(), 1)]).unwrap();
    assert_eq!(len, 4097);
    assert_eq!(handover.seal(&mut [0; 4095]), Err(BundleError::Layout));
    assert_eq!(handover.seal(&mut [0; 4097]), Ok(()));
    handover.plan.vms[0].cmdline = "x".repeat(5000);
    assert_eq!(handover.seal(&mut [0; 4097]), Err(BundleError::Layout));
    assert_eq!(handover.seal(&mut []), Err(BundleError::Layout));
}

#[test]
fn files_larger_than_memory_are_refused() {
    let mut handover = handover();
    let files = |len| [("a".to_string(), 1), ("b".to_string(), len)];
    assert_eq!(
        handover.lay_out(files(u64::MAX)),
        Err(BundleError::TooLarge)
    );
    let almost = u64::MAX - 4095;
    assert_eq!(
        handover.lay_out([("a".to_string(), almost), ("b".to_string(), 1)]),
        Err(BundleError::TooLarge)
    );
}

#[test]
fn damage_is_named() {
    let bytes = good();
    let with = |at: usize, value: u8| {
        let mut b = bytes.clone();
        b[at] = value;
        Bundle::open(&b).err()
    };
    assert_eq!(Bundle::open(&[]).err(), Some(BundleError::Magic));
    assert_eq!(with(0, b'b'), Some(BundleError::Magic));
    assert_eq!(with(8, 1), Some(BundleError::Version(1)));
    assert_eq!(with(15, 0xff), Some(BundleError::Header));
    assert_eq!(with(12, bytes[12] - 1), Some(BundleError::Header));
    assert_eq!(with(12, bytes[12] + 1), Some(BundleError::Header));
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(Bundle::open(cut).err(), Some(BundleError::File(1)));
}

#[test]
fn a_file_lies_inside_and_has_a_path_of_its_own() {
    let err = |change: fn(&mut Handover)| Bundle::open(&changed(change)).err();
    assert_eq!(err(|h| h.files[0].offset = 0), Some(BundleError::File(0)));
    assert_eq!(err(|h| h.files[1].offset += 1), Some(BundleError::File(1)));
    assert_eq!(
        err(|h| h.files[1].offset = !4095),
        Some(BundleError::File(1))
    );
    assert_eq!(
        err(|h| h.files[0].len = u64::MAX),
        Some(BundleError::File(0))
    );
    assert_eq!(
        err(|h| h.files[1].path = h.files[0].path.clone()),
        Some(BundleError::File(1))
    );
    assert_eq!(
        err(|h| h.files[1].path.push('x')),
        Some(BundleError::Missing(0))
    );
    assert_eq!(err(|h| h.cores.clear()), Some(BundleError::Header));
}

proptest! {
    /// Whatever the bytes: no panic, and what opens keeps its promises.
    #[test]
    fn damaged_bundles_never_lead_outside(
        at in 0usize..6000, value: u8, len in 0usize..10_000,
    ) {
        let mut bytes = good();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(len);
        if let Ok(bundle) = Bundle::open(&bytes) {
            for file in &bundle.handover().files {
                prop_assert_eq!(bundle.file(&file.path).unwrap().len() as u64, file.len);
            }
        }
    }
}
