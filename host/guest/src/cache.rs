//! Compiled components on disk, so that a start need not compile what an earlier one compiled. Refuses to be more than that: a component is
//! checked and described each time, and nothing here ever fails a start. It refuses a folder that others may write to, and loads no file but
//! one that is whole and was made of exactly this component by exactly this compiler; whatever else lies there is compiled anew.
//!
//! Reading takes no lock and changes nothing. Writing is meant for whoever holds the data folder's lock; were there two at a time, either of
//! them might fail to keep a file, but none could harm the other, since a file gets its name when it is whole.

use std::path::Path;

use gregor_model::digest::Digest;
use gregor_model::limits::MIB;

use crate::component::Component;
use crate::engine::Engine;
use crate::error::GuestError;
use folder::{File, Folder};

mod entry;
mod folder;

/// Most bytes of all files together. A component of a native language takes a quarter of a megabyte, a large interpreter 100 MB and more: ten
/// of those.
const CACHE_BYTES_MAX: u64 = 1024 * MIB;

/// A folder of compiled components.
#[derive(Debug)]
pub struct Cache {
    folder: Folder,
    bytes_max: u64,
}

/// What a compiled component was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// The component's own bytes.
    pub(crate) component: Digest,
    /// All else that its code depends on: see [`Engine::compiler`].
    pub(crate) compiler: Digest,
}

/// Where a component's code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was compiled by this process, or by one that it started for that.
    Compiled,
    /// It was compiled by an earlier one, and found in a [`Cache`].
    Loaded,
}

impl Cache {
    /// Opens the folder `path`, which must be there; changes nothing in it. It stays this folder, whatever becomes of its name.
    ///
    /// # Errors
    /// [`GuestError::Cache`]: there is no such folder, or somebody else may write to it. Components can be admitted without a cache then.
    pub fn open(path: &Path) -> Result<Self, GuestError> {
        let refused = |reason| GuestError::Cache { path: path.to_owned(), reason };
        Ok(Self { folder: Folder::open(path).map_err(refused)?, bytes_max: CACHE_BYTES_MAX })
    }

    /// The compiled form of a component, if it is here and fit to run.
    pub(crate) fn find(&self, engine: &Engine, component: Digest) -> Option<wasmtime::component::Component> {
        let key = Key { component, compiler: engine.compiler() };
        let bytes = match self.folder.read(&key.file(), self.bytes_max) {
            Ok(bytes) => bytes?,
            Err(reason) => {
                tracing::info!(%component, reason, "the compiled component can't be read and is compiled anew");
                return None;
            }
        };
        let loaded = entry::code_of(&key, &bytes).map_err(str::to_owned).and_then(|code| load(engine, code));
        loaded
            .inspect_err(|reason| tracing::info!(%component, reason, "the compiled component is not fit to run and is compiled anew"))
            .ok()
    }

    /// Keeps components for the next start, those that were found here included: they count as used now. Of all that is here, what was used
    /// longest ago goes until the rest fits the bound. What can't be kept is logged: the next start compiles it again.
    pub fn keep(&self, components: &[Component]) {
        // What was cut short lies there uselessly; first, since the disk may be full.
        self.folder.sweep();
        for component in components {
            let key = Key { component: component.digest(), compiler: component.engine().compiler() };
            if let Err(reason) = self.keep_one(&key, component) {
                tracing::info!(component = %key.component, reason, "the compiled component is not kept, the next start compiles it again");
            }
        }
        self.evict();
    }

    fn keep_one(&self, key: &Key, component: &Component) -> Result<(), String> {
        if component.origin() == Origin::Loaded {
            return self.folder.touch(&key.file());
        }
        let code = component.compiled().serialize().map_err(|error| format!("{error:#}"))?;
        let header = entry::header(key, &code);
        let size = header.len().saturating_add(code.len());
        if u64::try_from(size).unwrap_or(u64::MAX) > self.bytes_max {
            return Err(format!("it has {size} bytes, all of them together at most {}", self.bytes_max));
        }
        self.folder.write(&key.file(), &[&header, &code])
    }

    fn evict(&self) {
        let removed = self.folder.files().and_then(|files| {
            let surplus = surplus(files, self.bytes_max);
            surplus.iter().try_for_each(|file| self.folder.remove(&file.name))
        });
        if let Err(reason) = removed {
            tracing::info!(reason, "compiled components that were not used for long can't be removed");
        }
    }
}

impl Key {
    /// The name of its file.
    fn file(&self) -> String {
        format!("{}-{}{}", self.component, self.compiler, folder::ENDING)
    }
}

/// The files that go: of the newest as many stay as fit `bytes_max` together, with nothing older than the first that does not.
fn surplus(mut files: Vec<File>, bytes_max: u64) -> Vec<File> {
    files.sort_by(|one, other| (other.used_ns, &other.name).cmp(&(one.used_ns, &one.name)));
    let mut bytes = 0_u64;
    let stay = files.iter().take_while(|file| {
        bytes = bytes.saturating_add(file.bytes);
        bytes <= bytes_max
    });
    let stay = stay.count();
    files.split_off(stay)
}

/// Makes machine code of bytes that [`entry::code_of`] has let through, or that [`crate::apart`] took from the process that it had started to compile.
///
/// Those of a file were read before they were checked, and what was checked is what is loaded. `Component::deserialize_file`, which maps the file and
/// saves a copy, is the road not taken: a file may change between its check and its mapping, and while it is mapped.
#[expect(unsafe_code, reason = "wasmtime takes compiled code on trust; the comment within argues why it is trusted")]
pub(crate) fn load(engine: &Engine, code: &[u8]) -> Result<wasmtime::component::Component, String> {
    // SAFETY: `deserialize` demands bytes that `Component::serialize` made and that were not changed since.
    // - Made by `serialize`: only `Cache::keep` writes such files. Nobody but this process' user can have written this one: folder and file were
    //   looked at through the descriptors that it was read with, and both belong to this user and are not writable by group or others.
    //   (The user itself, and root, can do to this process whatever they like without a cache.) A process that compiles is this very program,
    //   started by this process; nobody else holds the other end of the pipe, and bytes count only if it says that they are all and ends with 0.
    // - Not changed: a digest over the key and all of the code, at the file's head, matches; so a disk that lies, a write that was cut short
    //   and a file under another's name are found out. A pipe loses and alters nothing.
    // - Made for this engine: the process that compiles got its options, a file's key holds wasmtime's own compatibility hash (version, target, settings of compiler and memory), and wasmtime
    //   compares these once more with what the code says of itself.
    unsafe { wasmtime::component::Component::deserialize(engine.wasmtime(), code) }.map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests;
