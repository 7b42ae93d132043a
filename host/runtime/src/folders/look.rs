//! Looks at the folders of a job before anything is touched: whether each output folder is this job's or may become so, and whether folders stand
//! in each other's way. Refuses one folder under two spellings, a folder in another's, and output where input is read from.

use std::path::{Component, Path, PathBuf};

use gregor_model::job::{Job, Source};
use gregor_model::spec::Marker;
use gregor_stream::OutputFolder;

use super::file_outputs;
use crate::failure;
use crate::setup::RunError;

/// The pattern of an input that names a whole folder.
const WHOLE_FOLDER: &str = "**";

/// A folder that a job names.
struct Named<'a> {
    /// The key that names it, for people.
    key: String,
    /// As the job names it.
    text: &'a str,
    /// Where it is: without links, as far as it is there.
    at: PathBuf,
}

/// Looks at all of them. Changes nothing.
///
/// # Errors
/// A folder is refused; the message names the keys and what to do.
pub(crate) fn look(job: &Job, marker: &Marker) -> Result<(), RunError> {
    let outputs: Vec<Named<'_>> = file_outputs(job).map(|(_, key, text)| Named { key, text, at: place_of(Path::new(text)) }).collect();
    check_apart(&outputs).map_err(RunError::Refused)?;
    for (input, pattern) in inputs(job) {
        for output in &outputs {
            check_not_read(output, (&input, pattern)).map_err(RunError::Refused)?;
        }
    }
    outputs.iter().try_for_each(|output| OutputFolder::look(Path::new(output.text), marker).map_err(failure::sink))
}

fn inputs(job: &Job) -> impl Iterator<Item = (Named<'_>, &str)> {
    job.stages.iter().flat_map(|stage| {
        stage.inputs.iter().filter_map(|input| match &input.source {
            Source::File { folder, pattern, .. } => {
                let key = format!("stage {:?}, input {:?}", stage.name.as_str(), input.port.as_str());
                Some((Named { key, text: folder, at: place_of(Path::new(folder)) }, pattern.as_str()))
            }
            Source::Stream { .. } => None,
        })
    })
}

/// Outputs may share a folder that they write in the same way, since the port is part of a file's name then; other folders lie apart.
fn check_apart(outputs: &[Named<'_>]) -> Result<(), String> {
    for (number, one) in outputs.iter().enumerate() {
        for other in outputs.iter().take(number).filter(|other| other.text != one.text) {
            if one.at == other.at {
                return Err(format!(
                    "{} and {} name one folder in two ways, {:?} and {:?}; write it the same way in both",
                    other.key, one.key, other.text, one.text
                ));
            }
            let (outer, inner) = if one.at.starts_with(&other.at) { (other, one) } else { (one, other) };
            if inner.at.starts_with(&outer.at) {
                return Err(format!(
                    "folder {:?} of {} lies in folder {:?} of {}; name one that lies elsewhere",
                    inner.text, inner.key, outer.text, outer.key
                ));
            }
        }
    }
    Ok(())
}

/// A job must not read what it writes: a start on other data would take its output for input.
fn check_not_read(output: &Named<'_>, (input, pattern): (&Named<'_>, &str)) -> Result<(), String> {
    if output.at == input.at || (pattern == WHOLE_FOLDER && output.at.starts_with(&input.at)) {
        return Err(format!(
            "{} writes into folder {:?}, from which {} reads ({:?}); name an output folder that lies elsewhere",
            output.key, output.text, input.key, input.text
        ));
    }
    Ok(())
}

/// Where a path leads: links followed as far as it exists; what does not exist yet holds no link, and its `..` take a name away.
fn place_of(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, mut place)) = there else { return path.to_path_buf() };
    for part in path.strip_prefix(above).unwrap_or(Path::new("")).components() {
        match part {
            Component::ParentDir => drop(place.pop()),
            Component::Normal(name) => place.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn named<'a>(root: &Path, text: &'a str) -> Named<'a> {
        Named { key: format!("key {text}"), text, at: place_of(&root.join(text)) }
    }

    #[test]
    fn one_folder_under_two_names_is_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("there")).unwrap();
        symlink("there", root.path().join("link")).unwrap();
        for (one, other, fragment) in [
            ("out", "./out", Some("in two ways")),
            ("out", "out/../out", Some("in two ways")),
            ("there", "there/../there", Some("in two ways")),
            ("there", "link", Some("in two ways")),
            ("there/new", "link/new", Some("in two ways")),
            ("there", "link/new", Some("lies in")),
            ("a/b", "a", Some("lies in")),
            ("out", "out", None),
            ("a/b", "a/c", None),
            ("out", "output", None),
        ] {
            let found = check_apart(&[named(root.path(), one), named(root.path(), other)]);
            match (fragment, found) {
                (None, found) => assert_eq!(found, Ok(()), "{one} {other}"),
                (Some(fragment), Err(reason)) => {
                    assert!(reason.contains(fragment) && reason.contains(&format!("key {one}")), "{reason}");
                    assert!(reason.contains(&format!("key {other}")), "{reason}");
                }
                (Some(_), Ok(())) => panic!("{one} and {other} were taken"),
            }
        }
    }

    #[test]
    fn output_is_not_input() {
        let root = tempfile::tempdir().unwrap();
        for (output, input, pattern, refused) in [
            ("in", "in", "*.txt", true),
            ("in/../in", "in", "a.txt", true),
            ("in/out", "in", "**", true),
            ("in/out", "in", "*.txt", false),
            ("out", "in", "**", false),
            ("a/out", "a/in", "**", false),
        ] {
            let found = check_not_read(&named(root.path(), output), (&named(root.path(), input), pattern));
            assert_eq!(found.is_err(), refused, "{output} {input}/{pattern}: {found:?}");
        }
    }
}
