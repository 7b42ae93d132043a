//! Looks at the folders of a job before anything is touched: whether each output folder is this job's or may become so, and whether folders stand
//! in each other's way. Refuses one folder under two spellings, a folder in another's, and output where input is read from.

use std::path::{Component, Path, PathBuf};

use gregor_model::job::{Job, Source};
use gregor_model::segment::final_name;
use gregor_model::spec::Marker;
use gregor_stream::OutputFolder;

use super::file_outputs;
use crate::failure;
use crate::setup::RunError;

/// Tasks and checkpoints whose files' names are tried on a pattern: each digit and each length up to three.
const TRIED: (u32, u64) = (12, 120);

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
        for (((stage, port), ..), output) in file_outputs(job).zip(&outputs) {
            let Some(stage) = job.stages.get(usize::from(stage)) else { continue };
            let port = stage.outputs.get(usize::from(port)).map(|output| output.port.as_str());
            check_not_read((output, (stage.name.as_str(), port)), (&input, pattern)).map_err(RunError::Refused)?;
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

/// A job must not read what it writes: a start on other data would take its output for input. `from` names the stage and port whose files they are.
fn check_not_read((output, from): (&Named<'_>, (&str, Option<&str>)), (input, pattern): (&Named<'_>, &str)) -> Result<(), String> {
    let below = output.at.strip_prefix(&input.at).ok();
    if below.is_some_and(|below| below.as_os_str().is_empty() || takes_parts(pattern, (below, from))) {
        return Err(format!(
            "{} writes into folder {:?}, from which {} reads ({:?} in {:?}); name an output folder that lies elsewhere",
            output.key, output.text, input.key, pattern, input.text
        ));
    }
    Ok(())
}

/// Whether a pattern takes an output file in the folder `below` its own.
fn takes_parts(pattern: &str, (below, (stage, port)): (&Path, (&str, Option<&str>))) -> bool {
    let (tasks, numbers) = TRIED;
    (0..tasks).any(|task| {
        let mut names = (1..=numbers).flat_map(|number| [None, port].map(|port| final_name(stage, port, task, number)));
        names.any(|name| below.join(name).to_str().is_some_and(|name| gregor_stream::takes(pattern, name)))
    })
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
            ("in/out", "in", "**/*", true),
            ("in/out", "in", "*/*", true),
            ("in/out", "in", "*/part-*", true),
            ("in/out", "in", "**/*-7", true),
            ("in/out", "in", "**/*-out-[0-3]-*", true),
            ("in/out", "in", "out", true),
            ("in/out", "in", "*.txt", false),
            ("in/out", "in", "**/*.txt", false),
            ("in/out", "in", "*", false),
            ("in/out", "in", "**/part-other-*", false),
            ("in/_out", "in", "**", false),
            ("out", "in", "**", false),
            ("a/out", "a/in", "**", false),
        ] {
            let found = check_not_read((&named(root.path(), output), ("count", Some("out"))), (&named(root.path(), input), pattern));
            assert_eq!(found.is_err(), refused, "{output} {input}/{pattern}: {found:?}");
        }
    }
}
