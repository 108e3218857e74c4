//! Which Debian archive this system uses: its own apt sources, in both formats of sources.list(5).

use anyhow::{Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Releases of Debian, by which an archive of Debian is told from other archives of packages.
const RELEASES: [&str; 11] = [
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
    "sid",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
];

/// Where the package `debian-archive-keyring` puts the keys, by its version.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// An archive and the keys that its releases are signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Archive {
    pub(super) uri: String,
    pub(super) keyring: PathBuf,
}

/// One source as written: what counts of it here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// The archives to try, most trusted first: what `BULKHEAD_MIRROR` names, else the system's own.
pub(super) fn archives() -> Result<Vec<Archive>> {
    let Some(keyring) = KEYRINGS
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
    else {
        bail!(
            "the keys of the Debian archive are not installed\n  mend: install debian-archive-keyring"
        );
    };
    if let Some(uri) = std::env::var("BULKHEAD_MIRROR")
        .ok()
        .filter(|uri| !uri.is_empty())
    {
        return Ok(vec![Archive { uri, keyring }]);
    }
    let found = select(&read(Path::new("/etc/apt")), &keyring);
    if found.is_empty() {
        bail!(
            "no source in /etc/apt names a Debian archive\n  \
             mend: put the address of one in BULKHEAD_MIRROR, as a line of sources.list would have it"
        );
    }
    Ok(found)
}

fn read(folder: &Path) -> Vec<Source> {
    let mut files = vec![folder.join("sources.list")];
    let mut parts: Vec<_> = fs::read_dir(folder.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    parts.sort();
    files.append(&mut parts);
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(stanzas(&text)),
            _ => {}
        }
    }
    sources
}

/// `deb [ option=value ... ] uri suite component...`
fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let signed_by = options
        .split_whitespace()
        .filter_map(|option| option.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("signed-by"))
        .map(|(_, value)| value.to_owned());
    Some(Source {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    })
}

/// The deb822 format: stanzas of fields, which go on over indented lines.
fn stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    // A comment is no line at all: not even the end of a stanza.
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .chain([""])
    {
        if line.trim().is_empty() {
            sources.extend(stanza(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn stanza(fields: &[(String, String)]) -> Option<Source> {
    let text = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value)
    };
    let list = |name: &str| {
        text(name)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // apt's own words for false.
    let off = ["no", "false", "without", "off", "disable", "0"];
    if off
        .iter()
        .any(|word| text("enabled").eq_ignore_ascii_case(word))
        || !list("types").iter().any(|kind| kind == "deb")
    {
        return None;
    }
    Some(Source {
        uris: list("uris"),
        suites: list("suites"),
        components: list("components"),
        signed_by: Some(text("signed-by").to_owned()).filter(|value| !value.is_empty()),
    })
}

/// The archives among `sources` that may hold Debian itself. Other publishers name their suites after Debian's releases too, so
/// those that name Debian's keys come first, those that name none next, and those with keys of their own not at all.
fn select(sources: &[Source], keyring: &Path) -> Vec<Archive> {
    let mut found: Vec<(bool, Archive)> = Vec::new();
    for source in sources {
        let debian = source
            .suites
            .iter()
            .any(|suite| RELEASES.contains(&suite.as_str()))
            && source
                .components
                .iter()
                .any(|component| component == "main");
        let keys = source
            .signed_by
            .as_deref()
            .map(|path| (path.starts_with('/'), Path::new(path)));
        let named = match keys {
            None => None,
            Some((true, path))
                if path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("debian-archive")) =>
            {
                Some(path)
            }
            // A path to other keys, a fingerprint, or a key in the file itself.
            Some(_) => continue,
        };
        for uri in source
            .uris
            .iter()
            .filter(|uri| debian && !uri.starts_with("cdrom:"))
        {
            // The keys of one release do not cover the others: the whole keyring lies beside them.
            let archive = Archive {
                uri: uri.clone(),
                keyring: keyring.to_path_buf(),
            };
            if !found.iter().any(|(_, other)| *other == archive) {
                found.push((named.is_none(), archive));
            }
        }
    }
    found.sort_by_key(|(unsure, _)| *unsure);
    found.into_iter().map(|(_, archive)| archive).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(sources: &[Source]) -> Vec<String> {
        select(sources, Path::new("/keys"))
            .into_iter()
            .map(|archive| archive.uri)
            .collect()
    }

    #[test]
    fn reads_lines_with_options_and_comments() {
        let line = "deb [ arch=amd64 Signed-By=/usr/share/keyrings/debian-archive-keyring.gpg ] http://one/debian trixie main contrib # x";
        let source = one_line(line).expect("a source");
        assert_eq!(source.uris, ["http://one/debian"]);
        assert_eq!(source.components, ["main", "contrib"]);
        assert_eq!(
            source.signed_by.as_deref(),
            Some("/usr/share/keyrings/debian-archive-keyring.gpg")
        );
        for line in [
            "# deb http://one/debian trixie main",
            "deb-src http://one/debian trixie main",
            "",
            "deb",
            "deb http://one",
            "debhttp://one trixie main",
            "deb [arch=amd64 http://one trixie main",
        ] {
            assert_eq!(one_line(line), None, "{line}");
        }
    }

    #[test]
    fn reads_stanzas() {
        let text = "Types: deb\n# a comment inside\nURIs: http://one/debian\nSuites: bookworm\n# another\n bookworm-updates\nComponents: main\nsigned-by: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
                    Types: deb-src\nURIs: http://two/debian\nSuites: bookworm\nComponents: main\n\n\
                    Types: deb deb-src\nURIs: http://three/debian http://four/debian\nSuites: sid\nComponents: main\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://five/debian\nSuites: sid\nComponents: main\n";
        let sources = stanzas(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(
            uris(&sources),
            [
                "http://one/debian",
                "http://three/debian",
                "http://four/debian"
            ]
        );
    }

    #[test]
    fn leaves_other_publishers_out() {
        let text = "deb http://cloud.example/apt cloud-sdk-bookworm main\n\
                    deb http://docker.example/debian bookworm stable\n\
                    deb [signed-by=/usr/share/keyrings/own.gpg] http://own.example bookworm main\n\
                    deb cdrom:[Debian GNU/Linux 12 _Bookworm_]/ bookworm main\n\
                    deb http://unsure.example/debian bookworm main\n\
                    deb http://security.example/debian-security bookworm-security main\n\
                    deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] mirror+file:/etc/apt/mirrors/debian.list bookworm main\n\
                    deb http://unsure.example/debian trixie main\n";
        let sources: Vec<_> = text.lines().filter_map(one_line).collect();
        assert_eq!(
            uris(&sources),
            [
                "mirror+file:/etc/apt/mirrors/debian.list",
                "http://unsure.example/debian"
            ]
        );
    }

    #[test]
    fn a_key_inside_the_stanza_is_another_publishers() {
        let text = "Types: deb\nURIs: http://own.example\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----\n";
        let sources = stanzas(text);
        assert_eq!(sources.len(), 1);
        assert_eq!(uris(&sources), [""; 0]);
    }

    #[test]
    fn reads_a_folder_in_apts_order() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("sources.list.d"))?;
        fs::write(
            folder.path().join("sources.list"),
            "deb http://one/debian sid main\n",
        )?;
        fs::write(
            folder.path().join("sources.list.d/b.sources"),
            "Types: deb\nURIs: http://three/debian\nSuites: sid\nComponents: main\n",
        )?;
        fs::write(
            folder.path().join("sources.list.d/a.list"),
            "deb http://two/debian sid main\n",
        )?;
        fs::write(
            folder.path().join("sources.list.d/c.list.save"),
            "deb http://four/debian sid main\n",
        )?;
        assert_eq!(
            uris(&read(folder.path())),
            [
                "http://one/debian",
                "http://two/debian",
                "http://three/debian"
            ]
        );
        assert!(read(&folder.path().join("missing")).is_empty());
        Ok(())
    }
}
