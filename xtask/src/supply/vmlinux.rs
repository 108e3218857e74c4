//! The ELF kernel that a bzImage unpacks: what starts by PVH.

use super::cache::Cache;
use super::{Suite, debian};
use crate::report::Reporter;
use anyhow::{Context, Result, bail, ensure};
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;
use spec::linux::SetupHeader;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use zerocopy::FromBytes;

const SECTOR: usize = 512;
/// boot.rst, "setup_sects": zero stands for this.
const DEFAULT_SETUP_SECTS: u8 = 4;
/// What an LZ4 block of the legacy format unpacks to, but for the last ("LZ4 Frame Format Description", "Legacy frame").
const LZ4_BLOCK: usize = 8 << 20;

/// The kernel of `suite` as an ELF file.
pub(super) fn vmlinux(report: &Reporter, suite: Suite) -> Result<PathBuf> {
    let cache = Cache::of_user()?;
    let kernel = debian::kernel(report, &cache, suite)?;
    let entry = cache.get_or_make(report, ("vmlinux", &kernel.key), |_, made| {
        let image = fs::read(&kernel.path)?;
        let elf = extract(&image)
            .with_context(|| format!("cannot unpack the kernel {}", kernel.path.display()))?;
        Ok(fs::write(made.join("vmlinux"), elf)?)
    })?;
    Ok(entry.join("vmlinux"))
}

/// The ELF file in a bzImage. Relocations may follow it.
fn extract(image: &[u8]) -> Result<Vec<u8>> {
    let payload = payload(image)?;
    // The kernel's build appends the size, as gzip does by itself.
    let (stream, size) = payload
        .split_last_chunk::<4>()
        .context("its payload is cut short")?;
    let size = u32::from_le_bytes(*size);
    let limit = u64::from(size);
    let elf = match payload {
        [0x1f, 0x8b, ..] => unpack(flate2::read::GzDecoder::new(payload), limit),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unpack(XzReader::new(stream, false), limit),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => unpack(StreamingDecoder::new(stream)?, limit),
        [0x02, 0x21, 0x4c, 0x18, ..] => lz4(
            stream.get(4..).context("its payload is cut short")?,
            size as usize,
        ),
        [a, b, ..] => bail!("it is packed in a way not known here (magic {a:#04x} {b:#04x})"),
        _ => bail!("its payload is cut short"),
    }?;
    ensure!(
        elf.len() as u64 == limit,
        "it unpacks to {} bytes and says {limit}",
        elf.len()
    );
    ensure!(
        elf.starts_with(b"\x7fELF"),
        "what it unpacks to is not an ELF file"
    );
    Ok(elf)
}

/// boot.rst, "payload_offset" and "payload_length".
fn payload(image: &[u8]) -> Result<&[u8]> {
    let header = image
        .get(SetupHeader::OFFSET..)
        .and_then(|from| SetupHeader::read_from_prefix(from).ok());
    let (header, _) = header
        .filter(|(header, _)| header.header == SetupHeader::MAGIC)
        .context("it is not a bzImage")?;
    let sectors = match header.setup_sects {
        0 => DEFAULT_SETUP_SECTS,
        n => n,
    };
    let code = (usize::from(sectors) + 1) * SECTOR;
    let (offset, length) = (header.payload_offset, header.payload_length);
    ensure!(
        offset != 0 && length != 0,
        "its header does not say where its payload is"
    );
    image
        .get(code + offset as usize..)
        .and_then(|from| from.get(..length as usize))
        .context("its payload is cut short")
}

/// What is unpacked, as far as one byte past `limit`.
fn unpack(stream: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    stream.take(limit + 1).read_to_end(&mut out)?;
    Ok(out)
}

/// Blocks behind their sizes, without an end mark.
fn lz4(mut blocks: &[u8], size: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((len, rest)) = blocks.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let (block, rest) = rest.split_at_checked(len).context("a block is cut short")?;
        blocks = rest;
        let at = out.len();
        out.resize(size.min(at + LZ4_BLOCK), 0);
        let unpacked = lz4_flex::block::decompress_into(block, &mut out[at..])?;
        out.truncate(at + unpacked);
    }
    ensure!(blocks.is_empty(), "{} bytes are left over", blocks.len());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::package;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use lzma_rust2::{FilterType, XzOptions, XzWriter};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;
    use zerocopy::{FromZeros, IntoBytes};

    /// An ELF file that does not pack well.
    fn elf(len: usize) -> Vec<u8> {
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            (state >> 27) as u8
        });
        let mut elf = b"\x7fELF".to_vec();
        elf.extend(noise.take(len));
        elf
    }

    fn sized(mut packed: Vec<u8>, size: usize) -> Vec<u8> {
        packed.extend((size as u32).to_le_bytes());
        packed
    }

    fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    }

    /// As the kernel's build has it: through the filter for x86 code.
    fn xz(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut options = XzOptions::with_preset(0);
        options.prepend_pre_filter(FilterType::BcjX86, 0);
        let mut encoder = XzWriter::new(Vec::new(), options)?;
        encoder.write_all(bytes)?;
        Ok(sized(encoder.finish()?, bytes.len()))
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        sized(
            compress_to_vec(bytes, CompressionLevel::Fastest),
            bytes.len(),
        )
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut packed = vec![0x02, 0x21, 0x4c, 0x18];
        for block in bytes.chunks(LZ4_BLOCK) {
            let block = lz4_flex::block::compress(block);
            packed.extend((block.len() as u32).to_le_bytes());
            packed.extend(block);
        }
        sized(packed, bytes.len())
    }

    /// A bzImage around a payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let header = SetupHeader {
            setup_sects: 1,
            header: SetupHeader::MAGIC,
            payload_offset: 0x40,
            payload_length: payload.len() as u32,
            ..SetupHeader::new_zeroed()
        };
        let mut image = vec![0x5a; 2 * SECTOR + 0x40];
        let end = SetupHeader::OFFSET + size_of::<SetupHeader>();
        image[SetupHeader::OFFSET..end].copy_from_slice(header.as_bytes());
        image.extend(payload);
        image.extend(b"signature");
        image
    }

    #[test]
    fn each_way_of_packing_is_undone() -> Result<()> {
        let small = elf(200_000);
        let large = elf(LZ4_BLOCK + 1000);
        for (payload, elf) in [
            (gzip(&small)?, &small),
            (xz(&small)?, &small),
            (zstd(&small), &small),
            (lz4(&large), &large),
        ] {
            let magic = [payload[0], payload[1]];
            assert!(extract(&image(&payload))? == *elf, "{magic:x?}");
        }
        Ok(())
    }

    #[test]
    fn damage_is_told_and_never_taken_for_a_kernel() -> Result<()> {
        let elf = &elf(10_000);
        for payload in [gzip(elf)?, xz(elf)?, zstd(elf), lz4(elf)] {
            let refused = |payload: &[u8]| extract(&image(payload)).is_err();
            for len in [0, 1, 3, 4, 7, 8, payload.len() / 2, payload.len() - 1] {
                assert!(refused(&payload[..len]), "cut to {len}");
            }
            for change in [1, 0xff] {
                let mut other = payload.clone();
                let at = other.len() - 4;
                other[at] ^= change;
                assert!(refused(&other), "another size");
            }
        }
        for payload in [zstd(b"no ELF file"), sized(b"BZh9".to_vec(), 4)] {
            assert!(extract(&image(&payload)).is_err());
        }
        assert!(extract(&[0; 0x400]).is_err());
        assert!(extract(b"MZ").is_err());
        Ok(())
    }

    #[test]
    fn a_header_that_points_nowhere_is_refused() -> Result<()> {
        let good = image(&zstd(&elf(1000)));
        let field = |name: usize| SetupHeader::OFFSET + name;
        let offset = field(std::mem::offset_of!(SetupHeader, payload_offset));
        for value in [0, good.len() as u32, u32::MAX] {
            let mut bad = good.clone();
            bad[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            assert!(extract(&bad).is_err(), "{value:#x}");
        }
        Ok(())
    }

    /// Each of Debian's kernels that was ever fetched.
    #[test]
    fn debians_own_kernels() -> Result<()> {
        let Ok(cache) = Cache::of_user() else {
            return Ok(());
        };
        for suite in Suite::ALL {
            if package::find(&cache, suite.name(), debian::KERNEL)?.is_none() {
                continue;
            }
            let elf = fs::read(vmlinux(&Reporter::new(), suite)?)?;
            // e_type and e_machine: an executable for x86-64.
            assert_eq!(elf.get(16..20), Some(&[2, 0, 62, 0][..]));
        }
        Ok(())
    }
}
