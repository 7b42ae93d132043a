//! The open releases of the last checkpoint: each output file lies under its temporary or its final name, with the bytes that were confirmed. Refuses
//! to release anything: the next start does.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use gregor_model::digest::{Digest, Digester};
use gregor_model::history::History;
use gregor_model::job::{Job, Sink};
use gregor_model::manifest::Release;
use gregor_model::recovery::{OnDisk, ReleaseMove, release};

use super::findings::{Findings, Whose};

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 * 1024;

/// Checks all of them.
pub(super) fn check((job, latest): (&Job, &History), findings: &mut Findings) {
    let Some(number) = latest.number else { return };
    for open in &latest.releases {
        let (object, problem) = match folder_of(job, open) {
            None => (open.name.clone(), Some(format!("is a release of output {} of task {}, which has no folder", open.output, open.task))),
            Some(folder) => {
                let problem = judge(&folder, open).unwrap_or_else(|error| Some(format!("can't be read: {error}")));
                (folder.join(&open.name).display().to_string(), problem)
            }
        };
        match problem {
            Some(problem) => findings.add(&object, problem, Whose::Latest(number)),
            // It is no object of the archive.
            None => findings.bytes = findings.bytes.saturating_add(open.length),
        }
    }
}

fn folder_of(job: &Job, release: &Release) -> Option<PathBuf> {
    match &job.stage_of(release.task)?.outputs.get(usize::from(release.output))?.sink {
        Sink::File { folder, .. } => Some(PathBuf::from(folder)),
        Sink::Stream { .. } => None,
    }
}

/// What is wrong with a release; nothing if its file is there.
fn judge(folder: &Path, open: &Release) -> io::Result<Option<String>> {
    // The temporary name first: a job that is running may give the final one meanwhile.
    let temporary = on_disk(folder, &open.temporary, open)?;
    let name = on_disk(folder, &open.name, open)?;
    Ok(match release(temporary, name) {
        ReleaseMove::Rename | ReleaseMove::Done => None,
        ReleaseMove::Stop(reason) => Some(format!("is confirmed and not released, and {reason}")),
        ReleaseMove::Lost => Some(format!("is confirmed and not released, and neither it nor {:?} is there", open.temporary)),
    })
}

fn on_disk(folder: &Path, name: &str, expected: &Release) -> io::Result<OnDisk> {
    if name.is_empty() || name.contains(['/', '\0']) || name == ".." {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("{name:?} is no name of a file")));
    }
    let path = folder.join(name);
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(OnDisk::Absent),
        metadata => metadata?,
    };
    if !metadata.is_file() || metadata.len() != expected.length {
        return Ok(OnDisk::Other);
    }
    Ok(if digest_of(&path)? == expected.sha256 { OnDisk::Same } else { OnDisk::Other })
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut digester = Digester::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(read) => digester.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
