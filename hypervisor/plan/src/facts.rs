//! What the asker knows beside the text.

/// What a config is held against. A workstation knows less than the machine that boots.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Memory for guests, in bytes; `None` if it is unknown
    pub memory: Option<u64>,
    /// Size in bytes of a file beside the config, by the path that the config gives with `/` between its parts;
    /// answers `None` if there is no such file. Without it files are taken to be right.
    pub files: Option<&'a SizeOf<'a>>,
}

/// Answers with the size in bytes of the file at a path, or `None` if there is none.
pub type SizeOf<'a> = dyn Fn(&str) -> Option<u64> + 'a;
