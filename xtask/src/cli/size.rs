//! Sizes of memory on the command line.

/// Reads a size such as `512MiB`, `1 GiB` or `1G`: binary multiples, as memory has them.
pub(super) fn mebibytes(text: &str) -> Result<u32, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u32 = match unit.trim() {
        "M" | "MiB" => 1,
        "G" | "GiB" => 1024,
        _ => return Err("write it as 512MiB or 1GiB".to_owned()),
    };
    let size: Option<u32> = number.parse().ok().and_then(|n: u32| n.checked_mul(factor));
    // The firmware needs 64 MiB, and the emulator's chipset has its PCI hole from 3 GiB on.
    size.filter(|size| (64..=65536).contains(size))
        .ok_or("from 64MiB to 64GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(mebibytes("512MiB"), Ok(512));
        assert_eq!(mebibytes("2 GiB"), Ok(2048));
        for wrong in [
            "512",
            "1MiB",
            "4096 GiB",
            "99999999999999MiB",
            "",
            "GiB",
            "-1G",
        ] {
            assert!(mebibytes(wrong).is_err(), "{wrong}");
        }
    }
}
