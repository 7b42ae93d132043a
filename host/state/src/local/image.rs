//! The files of the RocksDB of one task as an image: linked out of it, and taken in. Refuses to take in anything where a RocksDB is, and to make
//! an empty store of an image that isn't whole.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use gregor_model::digest::Digest;
use gregor_model::steps::{DurableStep, durable};
use rocksdb::ErrorKind;
use rocksdb::checkpoint::Checkpoint;

use super::{CURRENT, DB, Disk, Local, marker};
use crate::error::StateError;

impl Local {
    /// Flushes and marks the store, then links its files into `folder`, which doesn't exist yet. Answers the segment at which the files are; none,
    /// and no folder, if nothing was ever applied. Nothing is applied meanwhile.
    pub(crate) fn link_into(self: &Arc<Self>, folder: &Path) -> Result<Option<Digest>, StateError> {
        let marked = self.mark()?;
        let Some(db) = self.reader()? else { return Ok(None) };
        // Where this process has applied nothing, it has found nothing to apply: then RocksDB is at what its marker names.
        let resumed = || marker::read(&self.folder, &self.stores).map(|marker| marker.segment);
        let Some(segment) = marked.or_else(resumed) else { return Ok(None) };
        let linked = Checkpoint::new(&db).and_then(|checkpoint| checkpoint.create_checkpoint(folder));
        linked.map_err(|error| unfinished("take an image", folder, &error))?;
        Ok(Some(segment))
    }

    /// Makes the files in `image` the store: they are synced and moved, and opened to see whether RocksDB takes them.
    pub(crate) fn adopt(self: &Arc<Self>, image: &Path) -> Result<(), StateError> {
        let mut disk = self.lock();
        self.look(&mut disk)?;
        if !matches!(*disk, Disk::Absent) {
            return Err(StateError::Misuse("an image is restored into a store that was not wiped"));
        }
        let current = image.join(CURRENT);
        if !current.try_exists().map_err(|error| unfinished("read an image", image, &error))? {
            // RocksDB would see an empty folder, and make an empty store of it.
            return Err(StateError::Altered { path: current, reason: "it is missing".to_owned() });
        }
        // What is on the disk is only known again when all went well.
        *disk = Disk::Unasked;
        let adopted = durable(self.backend.steps(), DurableStep::StoreRestore, || {
            self.move_in(image)?;
            let mut options = self.backend.db_options().clone();
            options.create_if_missing(false);
            let db = self.open_files(&options).map_err(|(_, error)| self.refused(&error))?;
            drop(self.opened(&mut disk, db));
            Ok(())
        });
        adopted.map_err(|error| self.poisoned("restore an image", error))
    }

    /// Gives the folder of an image the place of RocksDB's. A marker that was left behind goes first: it would speak of another store.
    fn move_in(&self, image: &Path) -> Result<(), StateError> {
        self.remove_files().map_err(|(action, error)| unfinished(action, &self.folder, &error))?;
        sync_files(image).map_err(|error| unfinished("sync an image", image, &error))?;
        fs::create_dir_all(&self.folder)
            .and_then(|()| fs::rename(image, self.folder.join(DB)))
            .and_then(|()| marker::sync_folder(&self.folder))
            .map_err(|error| unfinished("move an image", image, &error))
    }

    /// What it means that RocksDB can't open an image: the image is damaged, or the system fails.
    fn refused(&self, error: &rocksdb::Error) -> StateError {
        let path = self.folder.join(DB);
        match error.kind() {
            ErrorKind::Corruption | ErrorKind::NotFound | ErrorKind::NotSupported | ErrorKind::InvalidArgument => {
                StateError::Altered { path, reason: error.to_string() }
            }
            _ => unfinished("open an image", &path, error),
        }
    }
}

/// Syncs the files of a folder, and their names.
fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        File::open(entry?.path())?.sync_all()?;
    }
    marker::sync_folder(folder)
}

fn unfinished(action: &'static str, path: &Path, error: &dyn std::error::Error) -> StateError {
    StateError::Unfinished { action, path: path.to_owned(), reason: error.to_string() }
}
