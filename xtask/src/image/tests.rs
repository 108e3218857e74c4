//! The image as firmware reads it.

use super::*;
use std::io::Read;

fn sample(note: &str) -> Contents {
    let mut contents = Contents::default();
    contents.add("EFI/BOOT/BOOTX64.EFI", Source::Bytes(vec![1; 100_000]));
    contents.add(
        "bulkhead/a folder/A long name, in Mixed Case.txt",
        Source::Bytes(note.into()),
    );
    contents
}

fn written(contents: &Contents) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    contents.write(&image).unwrap();
    (folder, image)
}

/// Finds the partition as firmware does, and reads a file from it.
fn read(image: &Path, path: &str) -> Vec<u8> {
    let gpt = GptConfig::new()
        .only_valid_headers(true)
        .open(image)
        .unwrap();
    let (_, esp) = gpt.partitions().iter().next().unwrap();
    assert_eq!(esp.part_type_guid, partition_types::EFI);
    assert_eq!(esp.first_lba * SECTOR % MIB, 0);
    let disk = OpenOptions::new()
        .read(true)
        .write(true)
        .open(image)
        .unwrap();
    let (start, end) = (esp.first_lba * SECTOR, (esp.last_lba + 1) * SECTOR);
    let volume = FileSystem::new(
        StreamSlice::new(disk, start, end).unwrap(),
        FsOptions::new(),
    );
    let volume = volume.unwrap();
    assert_eq!(volume.fat_type(), fat_type(end - start));
    let mut bytes = Vec::new();
    volume
        .root_dir()
        .open_file(path)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn files_are_found_under_their_names() {
    let (_folder, image) = written(&sample("hello"));
    assert_eq!(
        read(&image, "bulkhead/a folder/A long name, in Mixed Case.txt"),
        b"hello"
    );
    assert_eq!(read(&image, "efi/boot/bootx64.efi"), [1; 100_000]);
}

#[test]
fn the_same_contents_give_the_same_bytes() {
    let (_a, first) = written(&sample("hello"));
    let (_b, again) = written(&sample("hello"));
    let (_c, other) = written(&sample("hallo"));
    let bytes = |path| std::fs::read(path).unwrap();
    assert!(bytes(&first) == bytes(&again));
    assert!(
        bytes(&first)[..1 << 20] != bytes(&other)[..1 << 20],
        "the GUIDs are the same"
    );
}

#[test]
fn a_disk_is_made_of_whole_cylinders_and_grows_with_its_files() {
    let mut contents = sample("hello");
    contents.add("bulkhead/large", Source::Bytes(vec![7; 60 << 20]));
    let (_folder, image) = written(&contents);
    let size = image.metadata().unwrap().len();
    assert_eq!(size % (SECTOR * CYLINDER), 0);
    assert!(read(&image, "bulkhead/large") == vec![7; 60 << 20]);
}

#[test]
fn every_size_is_of_the_type_that_its_clusters_make_it() {
    for size in [SMALLEST, LARGEST_FAT16, LARGEST_FAT16 + MIB, 700 * MIB] {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.img");
        let disk = File::create_new(&image).unwrap();
        disk.set_len(MIB + size).unwrap();
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&image)
            .unwrap();
        sample("hello").write_volume(&disk, size, &[1; 32]).unwrap();
        let volume = StreamSlice::new(disk, MIB, MIB + size).unwrap();
        let volume = FileSystem::new(volume, FsOptions::new()).unwrap();
        assert_eq!(volume.fat_type(), fat_type(size));
        assert_eq!(volume.cluster_size(), CLUSTER);
    }
}

#[test]
fn folders_begin_with_themselves_and_their_parent() {
    let (_folder, image) = written(&sample("hello"));
    let bytes = std::fs::read(image).unwrap();
    let slot = |at: usize, name: &[u8]| bytes[at..].starts_with(name) && bytes[at + 11] == 0x10;
    let begins = |at: &usize| slot(*at, b".          ") && slot(*at + 32, b"..         ");
    let folders = (0..bytes.len() - 512).step_by(512).filter(begins).count();
    assert_eq!(folders, 4, "EFI, EFI/BOOT, bulkhead, bulkhead/a folder");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let mut contents = sample("hello");
    contents.add("bulkhead/kernel", Source::Path("/no/such/kernel".into()));
    let folder = tempfile::tempdir().unwrap();
    let error = contents.write(&folder.path().join("disk.img")).unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/kernel"));
}
