//! The end of what was heard, for a failure to show.

/// How many lines are shown.
const LINES: usize = 15;

/// The last lines of a stream.
#[derive(Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    pub(crate) fn of(text: &str) -> Tail {
        Tail(text.as_bytes().to_vec())
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 1 << 16 {
            self.0.drain(..self.0.len() - (1 << 15));
        }
    }

    /// All that is kept.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl std::fmt::Display for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        // Firmware clears the screen at each chance, which would wipe out what is shown here.
        let text = console::strip_ansi_codes(&text);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.chars().filter(|c| !c.is_control()).collect())
            .filter(|line: &String| !line.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(LINES);
        f.write_str(&lines[from..].join("\n"))
    }
}
