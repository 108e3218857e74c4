//! The guest's initramfs: busybox and a script, in the format that Linux unpacks (Documentation/driver-api/early-userspace/
//! buffer-format.rst): a "newc" cpio archive under gzip. The same inputs give the same bytes.

use anyhow::Result;
use cpio::newc::{Builder, ModeFileType, trailer};
use flate2::{Compression, GzBuilder};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The script that the kernel starts.
pub(super) const RECIPE: &str = include_str!("../../guest/init");

/// Writes the archive, with further programs and their paths in it.
pub(super) fn write(busybox: &[u8], more: &[(&str, Vec<u8>)], path: &Path) -> Result<()> {
    let file = BufWriter::new(File::create(path)?);
    // No time and no name: reproducible.
    let gzip = GzBuilder::new().mtime(0).write(file, Compression::best());
    let mut files = vec![("bin/busybox", busybox), ("init", RECIPE.as_bytes())];
    files.extend(more.iter().map(|(path, bytes)| (*path, &bytes[..])));
    archive(&files, gzip)?.finish()?.flush()?;
    Ok(())
}

/// An initramfs, not compressed, of one static program, which the kernel starts as its first process.
///
/// # Errors
/// A program of more than 4 GiB.
pub(crate) fn first_process(program: &[u8]) -> Result<Vec<u8>> {
    archive(&[("init", program)], Vec::new())
}

fn archive<W: Write>(files: &[(&str, &[u8])], mut out: W) -> Result<W> {
    for folder in folders(files) {
        let entry = entry(folder, 0o755).set_mode_file_type(ModeFileType::Directory);
        out = entry.write(out, 0).finish()?;
    }
    // The kernel opens it for the first process before anything is mounted; character device 5:1 is the console.
    let console = entry("dev/console", 0o600)
        .set_mode_file_type(ModeFileType::Char)
        .rdev_major(5)
        .rdev_minor(1);
    out = console.write(out, 0).finish()?;
    for (name, contents) in files {
        let entry = entry(name, 0o755).set_mode_file_type(ModeFileType::Regular);
        let mut writer = entry.write(out, u32::try_from(contents.len())?);
        writer.write_all(contents)?;
        out = writer.finish()?;
    }
    Ok(trailer(out)?)
}

/// The folders that the kernel has to make first, the outer ones before the inner ones.
fn folders<'a>(files: &[(&'a str, &[u8])]) -> BTreeSet<&'a str> {
    let ends = |path: &'a str| path.match_indices('/').map(move |(end, _)| &path[..end]);
    let inner = files.iter().flat_map(|(path, _)| ends(path));
    ["bin", "dev"].into_iter().chain(inner).collect()
}

fn entry(name: &str, mode: u32) -> Builder {
    Builder::new(name).mode(mode).nlink(1).mtime(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[test]
    fn holds_what_the_kernel_looks_for() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("initrd.img");
        write(
            b"a program",
            &[("usr/bin/more", b"another".to_vec())],
            &path,
        )?;
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(&path)?).read_to_end(&mut bytes)?;
        let mut rest = &bytes[..];
        let mut seen = Vec::new();
        loop {
            let mut reader = Reader::new(rest)?;
            let entry = reader.entry();
            if entry.is_trailer() {
                break;
            }
            let (name, mode) = (entry.name().to_owned(), entry.mode());
            let device = (entry.rdev_major(), entry.rdev_minor());
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents)?;
            seen.push((name, mode, device, contents));
            rest = reader.finish()?;
        }
        let none = (0, 0);
        let expected = [
            ("bin", 0o040_755, none, &b""[..]),
            ("dev", 0o040_755, none, b""),
            ("usr", 0o040_755, none, b""),
            ("usr/bin", 0o040_755, none, b""),
            ("dev/console", 0o020_600, (5, 1), b""),
            ("bin/busybox", 0o100_755, none, b"a program"),
            ("init", 0o100_755, none, RECIPE.as_bytes()),
            ("usr/bin/more", 0o100_755, none, b"another"),
        ];
        let expected = expected
            .map(|(name, mode, device, bytes)| (name.to_owned(), mode, device, bytes.to_vec()));
        assert_eq!(seen, expected);
        Ok(())
    }

    #[test]
    fn comes_out_the_same_twice() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for path in &paths {
            write(&[7; 5000], &[], path)?;
        }
        assert_eq!(std::fs::read(&paths[0])?, std::fs::read(&paths[1])?);
        Ok(())
    }
}
