//! Where a job reads and writes, as a URL or a path in the job file says it: schemes, folders, globs. Refuses schemes that are not built, names
//! that climb out of a glob's folder, and paths that are no text.

use std::path::{Component, Path, PathBuf};

/// What a `from` or `to` names, by its scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target<'t> {
    /// A path of this machine; absolute where it came as a `file:` URL.
    File(&'t str),
    /// A stream of our own.
    Stream(&'t str),
    /// A scheme that the interface knows but that is not built.
    NotBuilt,
}

/// Why a text is no path or URL of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTarget {
    /// A scheme that nobody knows.
    #[error("a path, file:///… or stream://…")]
    Scheme,
    /// A `file:` URL with a host, or relative.
    #[error("an absolute file URL: file:/// and the path")]
    FileUrl,
}

/// Folder and pattern of a file input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// The folder, absolute.
    pub(crate) folder: String,
    /// Glob below the folder, the name of a single file, or `**` for a folder.
    pub(crate) pattern: String,
}

/// Why a path can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPath {
    /// `..` at or after a glob character.
    #[error("a glob without .. after its first wildcard")]
    Climbs,
    /// The job file's folder is no UTF-8, so that it can't stand in the job's record.
    #[error("a path whose characters are UTF-8")]
    NotUtf8,
    /// Nothing is left of it.
    #[error("the path of a file, a folder or a glob")]
    Empty,
}

/// The characters that make a part of a path a glob.
const GLOB: [char; 3] = ['*', '?', '['];

/// Tells by the scheme what a text names.
///
/// # Errors
/// See [`InvalidTarget`].
pub(crate) fn target(text: &str) -> Result<Target<'_>, InvalidTarget> {
    if let Some(rest) = text.strip_prefix("file:") {
        // A `file:` URL is absolute and not percent-decoded; it names no other machine.
        let path = rest.strip_prefix("//").ok_or(InvalidTarget::FileUrl)?;
        return if path.starts_with('/') { Ok(Target::File(path)) } else { Err(InvalidTarget::FileUrl) };
    }
    if let Some(name) = text.strip_prefix("stream://") {
        return Ok(Target::Stream(name));
    }
    match text.split_once("://") {
        Some(("hdfs" | "s3" | "kafka", _)) => Ok(Target::NotBuilt),
        // A path may hold "://" too, but not right after letters at its beginning.
        Some((scheme, _)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
            Err(InvalidTarget::Scheme)
        }
        _ => Ok(Target::File(text)),
    }
}

/// Folder and pattern of a path below `base` (absolute, without `..`). Where the path has no glob character, `is_folder` tells whether it is a folder.
///
/// # Errors
/// See [`InvalidPath`].
pub(crate) fn files(base: &Path, path: &str, is_folder: impl FnOnce(&Path) -> bool) -> Result<Files, InvalidPath> {
    let glob_at = path.split('/').position(|part| part.contains(GLOB));
    if let Some(at) = glob_at {
        let parts: Vec<&str> = path.split('/').collect();
        let (before, pattern) = parts.split_at(at);
        let pattern: Vec<&str> = pattern.iter().copied().filter(|part| !matches!(*part, "" | ".")).collect();
        if pattern.contains(&"..") {
            return Err(InvalidPath::Climbs);
        }
        let before = if before == [""] { "/".to_owned() } else { before.join("/") };
        return Ok(Files { folder: folder(base, &before)?, pattern: pattern.join("/") });
    }
    let whole = absolute(base, path);
    if path.ends_with('/') || is_folder(&whole) {
        return Ok(Files { folder: text(whole)?, pattern: "**".to_owned() });
    }
    let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else { return Err(InvalidPath::Empty) };
    Ok(Files { folder: text(parent.to_path_buf())?, pattern: text(PathBuf::from(name))? })
}

/// A folder below `base`, as text.
///
/// # Errors
/// `base` is no UTF-8.
pub(crate) fn folder(base: &Path, path: &str) -> Result<String, InvalidPath> {
    text(absolute(base, path))
}

/// A path below `base`, made absolute. `base` has no links in it, so a `..` at the path's beginning is taken away exactly; a later one may follow a
/// link and stays for the system to follow.
pub(crate) fn absolute(base: &Path, path: &str) -> PathBuf {
    let mut whole = base.to_path_buf();
    let mut exact = true;
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::Prefix(_) => whole = PathBuf::from(part.as_os_str()),
            Component::CurDir => {}
            Component::ParentDir if exact => drop(whole.pop()),
            Component::ParentDir => whole.push(".."),
            Component::Normal(name) => {
                exact = false;
                whole.push(name);
            }
        }
    }
    whole
}

fn text(path: PathBuf) -> Result<String, InvalidPath> {
    path.into_os_string().into_string().map_err(|_| InvalidPath::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_tells_what_is_meant() {
        let cases = [
            ("file:///books/*.txt", Ok(Target::File("/books/*.txt"))),
            ("file:///a%20b", Ok(Target::File("/a%20b"))),
            ("file://host/a", Err(InvalidTarget::FileUrl)),
            ("file:a", Err(InvalidTarget::FileUrl)),
            ("stream://words", Ok(Target::Stream("words"))),
            ("hdfs://localhost:9000/a", Ok(Target::NotBuilt)),
            ("s3://bucket/a", Ok(Target::NotBuilt)),
            ("kafka://h:1/t", Ok(Target::NotBuilt)),
            ("http://h/a", Err(InvalidTarget::Scheme)),
            ("books", Ok(Target::File("books"))),
            ("./odd://name", Ok(Target::File("./odd://name"))),
        ];
        for (text, expected) in cases {
            assert_eq!(target(text), expected, "{text}");
        }
    }

    #[test]
    fn a_path_is_cut_into_folder_and_pattern() {
        let cases = [
            ("/books/*.txt", Ok(("/books", "*.txt"))),
            ("/*.txt", Ok(("/", "*.txt"))),
            ("*.txt", Ok(("/job", "*.txt"))),
            ("in/**/a?.txt", Ok(("/job/in", "**/a?.txt"))),
            ("./in/./[ab]//*", Ok(("/job/in", "[ab]/*"))),
            ("../in/*.txt", Ok(("/in", "*.txt"))),
            ("../../../in/a.txt", Ok(("/in", "a.txt"))),
            ("in/../other/*.txt", Ok(("/job/in/../other", "*.txt"))),
            ("*/../x", Err(InvalidPath::Climbs)),
            ("in/a.txt", Ok(("/job/in", "a.txt"))),
            ("folder", Ok(("/job/folder", "**"))),
            ("unseen/", Ok(("/job/unseen", "**"))),
            ("/a {b}.txt", Ok(("/", "a {b}.txt"))),
        ];
        for (path, expected) in cases {
            let found = files(Path::new("/job"), path, |whole| whole == Path::new("/job/folder"));
            let expected = expected.map(|(folder, pattern)| Files { folder: folder.to_owned(), pattern: pattern.to_owned() });
            assert_eq!(found, expected, "{path}");
        }
    }
}
