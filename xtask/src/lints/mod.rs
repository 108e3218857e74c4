//! The house's own lints: what neither the compiler nor clippy looks at.

mod directions;
mod length;
mod panics;
mod sources;
mod unsafety;

use crate::workspace;
use anyhow::Result;

/// Everything that the lints find in this checkout, a line each.
///
/// # Errors
/// When the sources cannot be read.
pub(crate) fn findings() -> Result<Vec<String>> {
    let root = workspace::root();
    let sources = sources::read(&root)?;
    let mut findings = directions::findings(&directions::imports(&root)?);
    for source in &sources {
        findings.extend(length::finding(source));
        findings.extend(panics::finding(source));
        findings.extend(unsafety::finding(source));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_checkout_keeps_the_house_rules() {
        let findings = super::findings().unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
