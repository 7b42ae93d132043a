//! Which files hold compressed data: said by the end of their names alone, so that a plan, which holds names, says it too. Refuses to look into a
//! file for it.

/// How a file's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all: places in the file are places in its content, and it may be cut into splits.
    None,
    /// Members of gzip, one or more: `.gz`.
    Gzip,
    /// Frames of zstd, one or more: `.zst`.
    Zstd,
}

impl Compression {
    /// What the end of a file's name says, in capitals or not.
    pub(crate) fn of(name: &str) -> Self {
        match name.rsplit_once('.') {
            Some((_, ending)) if ending.eq_ignore_ascii_case("gz") => Self::Gzip,
            Some((_, ending)) if ending.eq_ignore_ascii_case("zst") => Self::Zstd,
            _ => Self::None,
        }
    }
}
