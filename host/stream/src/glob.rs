//! Which files of a folder a pattern names: `*`, `?` and `[]` within a name, `**` for any folders between. A pattern without any of them names
//! one file, or a folder and so all files below it. Names that begin with `.` or `_` are what is unfinished or no data, as Hadoop's readers
//! expect: only a pattern that writes that first character itself takes them. Refuses `..`, absolute patterns, links in a circle, and more files
//! than a plan may hold; never leaves a name out because it can't be read.

use std::collections::BTreeSet;

use gregor_model::limits::INPUT_FILES_MAX;

use crate::error::SourceError;
use crate::glob::name_pattern::NamePattern;
use crate::input_folder::{Found, InputFolder};

mod name_pattern;

/// The names of all files that a pattern matches, in the order of their bytes; none if nothing matches.
pub(crate) fn matching_files(folder: &InputFolder, pattern: &str) -> Result<BTreeSet<String>, SourceError> {
    let components = parse(folder, pattern)?;
    // A file whose own name has a bracket or star is meant when it is named in full.
    if components.iter().any(|component| !matches!(component, Component::Literal(_)))
        && let Ok(Found::File(_)) = folder.look_up(pattern)
    {
        return Ok(BTreeSet::from([pattern.to_owned()]));
    }
    let above = match folder.look_up(".")? {
        Found::Folder(device, inode) => vec![(device, inode)],
        _ => Vec::new(),
    };
    let mut walk = Walk { folder, found: BTreeSet::new(), above };
    walk.descend("", &components)?;
    Ok(walk.found)
}

/// Whether a pattern takes a file of this name, with `/` between folders, were it there; links apart. One that can't be read takes nothing: it is
/// refused when a plan is made of it.
#[must_use]
pub fn takes(pattern: &str, name: &str) -> bool {
    let Ok(components) = components(pattern) else { return false };
    let end = components.len();
    // The components that the names until now may lead to; `end` = all of them matched.
    let mut at = beyond_folders(&components, BTreeSet::from([0]));
    for name in name.split('/') {
        let visible = !is_hidden(name);
        let steps = at.iter().flat_map(|&here| {
            let (stays, moves) = match components.get(here) {
                Some(Component::Literal(literal)) => (false, literal == name),
                Some(Component::Wild(names, hidden)) => (false, names.matches(name) && (visible || *hidden == TakesHidden::Yes)),
                Some(Component::Folders) => (visible, visible && here + 1 == end),
                // A folder that the pattern names means all that is below it.
                None => (visible && matches!(components.last(), Some(Component::Literal(_))), false),
            };
            [stays.then_some(here), moves.then_some(here + 1)]
        });
        at = beyond_folders(&components, steps.flatten().collect());
    }
    at.contains(&end) || pattern == name
}

/// `**` may stand for no folder, unless it is the last: then it stands for the file.
fn beyond_folders(components: &[Component], mut at: BTreeSet<usize>) -> BTreeSet<usize> {
    for (here, component) in components.iter().enumerate() {
        if matches!(component, Component::Folders) && here + 1 < components.len() && at.contains(&here) {
            at.insert(here + 1);
        }
    }
    at
}

/// One name of a pattern.
#[derive(Debug, Clone)]
enum Component {
    /// This name.
    Literal(String),
    /// Names that match; hidden ones only if the pattern writes their first character.
    Wild(NamePattern, TakesHidden),
    /// Any folders, or none.
    Folders,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakesHidden {
    Yes,
    No,
}

fn parse(folder: &InputFolder, pattern: &str) -> Result<Vec<Component>, SourceError> {
    components(pattern).map_err(|reason| folder.refused(pattern, reason))
}

/// The names of a pattern, or why it is none.
fn components(pattern: &str) -> Result<Vec<Component>, String> {
    if pattern.starts_with('/') {
        return Err("it begins with /, expected a name below the folder".to_owned());
    }
    let names = pattern.split('/').filter(|name| !name.is_empty() && *name != ".");
    let components = names.map(component).collect::<Result<Vec<_>, _>>()?;
    if components.is_empty() {
        return Err("it names nothing; write ** for all files below the folder".to_owned());
    }
    Ok(components)
}

fn component(name: &str) -> Result<Component, String> {
    match name {
        ".." => Err("it has .., which leads out of the folder".to_owned()),
        "**" => Ok(Component::Folders),
        _ if !name.contains(['*', '?', '[']) => Ok(Component::Literal(name.to_owned())),
        _ => {
            let names = NamePattern::parse(name).map_err(|reason| format!("it is no pattern: {reason}"))?;
            let hidden = if is_hidden(name) { TakesHidden::Yes } else { TakesHidden::No };
            Ok(Component::Wild(names, hidden))
        }
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

struct Walk<'a> {
    folder: &'a InputFolder,
    found: BTreeSet<String>,
    /// Device and inode of each folder that the walk is in: a link to one of them would never end.
    above: Vec<(u64, u64)>,
}

impl Walk<'_> {
    /// Finds what `components` match below the folder `at`; the folder itself is "".
    fn descend(&mut self, at: &str, components: &[Component]) -> Result<(), SourceError> {
        let Some((first, rest)) = components.split_first() else { return Ok(()) };
        match first {
            Component::Literal(name) => self.literal(join(at, name), rest),
            Component::Wild(pattern, hidden) => {
                for name in self.names(at, |name| pattern.matches(name), *hidden)? {
                    self.wild(join(at, &name), rest)?;
                }
                Ok(())
            }
            Component::Folders => {
                self.descend(at, rest)?;
                for name in self.names(at, |_| true, TakesHidden::No)? {
                    self.below(join(at, &name), components)?;
                }
                Ok(())
            }
        }
    }

    /// A name that the pattern writes out.
    fn literal(&mut self, name: String, rest: &[Component]) -> Result<(), SourceError> {
        match (self.folder.look_up(&name)?, rest) {
            (Found::Folder(..), []) => self.descend(&name, &[Component::Folders]),
            (Found::Folder(..), _) => self.descend(&name, rest),
            (Found::File(_), []) => self.take(name),
            (Found::Other, []) => Err(self.no_file(&name)),
            (Found::Nothing, []) | (_, [_, ..]) => Ok(()),
        }
    }

    /// A name that matches a wild component.
    fn wild(&mut self, name: String, rest: &[Component]) -> Result<(), SourceError> {
        match (self.folder.look_up(&name)?, rest) {
            (Found::File(_), []) => self.take(name),
            (Found::Folder(..), [_, ..]) => self.descend(&name, rest),
            (Found::Other | Found::Nothing, []) => Err(self.no_file(&name)),
            _ => Ok(()),
        }
    }

    /// A name below `**`: `components` begins with it.
    fn below(&mut self, name: String, components: &[Component]) -> Result<(), SourceError> {
        let is_last = components.len() == 1;
        match self.folder.look_up(&name)? {
            Found::Folder(device, inode) if self.above.contains(&(device, inode)) => {
                Err(self.folder.refused(&name, "it is a link to a folder that it lies in, so its names would never end; remove it"))
            }
            Found::Folder(device, inode) => {
                self.above.push((device, inode));
                self.descend(&name, components)?;
                self.above.pop();
                Ok(())
            }
            Found::File(_) if is_last => self.take(name),
            Found::Other | Found::Nothing if is_last => Err(self.no_file(&name)),
            _ => Ok(()),
        }
    }

    fn no_file(&self, name: &str) -> SourceError {
        self.folder.refused(name, "it is no file (nor a link to one inside the folder); remove it, or write a pattern without it")
    }

    fn take(&mut self, name: String) -> Result<(), SourceError> {
        self.found.insert(name);
        if self.found.len() > INPUT_FILES_MAX {
            return Err(self
                .folder
                .refused("", format!("it has more than {INPUT_FILES_MAX} files; put small ones together, or name fewer")));
        }
        Ok(())
    }

    /// Names in the folder `at` that are wanted.
    fn names(&self, at: &str, wanted: impl Fn(&str) -> bool, hidden: TakesHidden) -> Result<Vec<String>, SourceError> {
        let failed = |error| self.folder.failed("list", at, error);
        let mut names = Vec::new();
        let entries = if at.is_empty() { self.folder.dir().entries() } else { self.folder.dir().read_dir(at) };
        for entry in entries.map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // A name that is not UTF-8 is wanted or not by what people see of it, and then refused.
            let seen = name.to_string_lossy();
            if !wanted(&seen) || (hidden == TakesHidden::No && is_hidden(&seen)) {
                continue;
            }
            let name = name.into_string().map_err(|name| {
                let seen = join(at, &name.to_string_lossy());
                self.folder.refused(&seen, "its name is not UTF-8, which a plan can't hold; rename it")
            })?;
            names.push(name);
        }
        Ok(names)
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") }
}

#[cfg(test)]
mod tests;
