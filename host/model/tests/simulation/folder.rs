//! The output folder: files by name, and the names whose files were touched since somebody looked. Refuses to know which of them are committed.

use std::collections::BTreeMap;

use gregor_model::digest::Digest;

use crate::problem::Line;

/// A file of the output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) digest: Digest,
    pub(crate) lines: Vec<Line>,
}

/// The output folder.
#[derive(Default)]
pub(crate) struct Folder {
    files: BTreeMap<String, File>,
    touched: Vec<String>,
}

impl Folder {
    pub(crate) fn get(&self, name: &str) -> Option<&File> {
        self.files.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub(crate) fn insert(&mut self, name: &str, file: File) {
        self.touched.push(name.to_owned());
        self.files.insert(name.to_owned(), file);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<File> {
        self.touched.push(name.to_owned());
        self.files.remove(name)
    }

    /// Keeps the files with these names.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let Self { files, touched } = self;
        touched.extend(files.extract_if(.., |name, _| !wanted(name)).map(|(name, _)| name));
    }

    /// Names of files that were created, altered or removed since this was last asked.
    pub(crate) fn take_touched(&mut self) -> Vec<String> {
        std::mem::take(&mut self.touched)
    }
}
