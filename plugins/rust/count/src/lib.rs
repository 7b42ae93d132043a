//! Counts words. Input `words`: the key is a word. Output `counts`: at the end of the input, one record a word, its value the decimal
//! count. Refuses any other time to emit: the config `emit` knows `at-end` only.

use gregor::{Batch, Description, Error, KeyRange, Output, Port, Progress, Store, Task, counter};

const COUNTS: Port = Port(0);

/// Key of the store `progress` under which the last word that was emitted stands.
const PLACE: &str = "place";

/// Records that one call emits: a twentieth of what it may, so that the pieces stay short.
const PIECE_RECORDS: u32 = 50_000;

/// Bytes that one call reads, about: an eighth of what it may emit.
const PIECE_BYTES: usize = 8 * 1024 * 1024;

/// Pairs that are read at once: at most about 1 MiB of them.
const PAGE: u32 = 5_000;

/// The task.
struct Count {
    /// Word → how often it occurred.
    counts: Store,
    /// How far the words were emitted; kept in a store, because an instance may vanish between two pieces.
    progress: Store,
}

impl Task for Count {
    fn describe() -> Description {
        Description::new().input("words").output("counts").store("counts").store("progress")
    }

    fn init() -> Result<Self, Error> {
        match gregor::context::config("emit").as_deref() {
            None | Some("at-end") => Ok(Self { counts: Store::open("counts")?, progress: Store::open("progress")? }),
            Some(other) => Err(Error::fatal(format_args!("config emit = {other:?} is not known; the one value is \"at-end\""))),
        }
    }

    fn process(&mut self, batch: &Batch, out: &mut Output) -> Result<(), Error> {
        for record in batch.records().filter(|record| record.key().is_none()) {
            out.skip(&record, "a record without key has no word to be counted");
        }
        Ok(self.counts.add_many(batch.records().filter_map(|record| record.key()), 1)?)
    }

    fn on_end(&mut self, _: Port, out: &mut Output) -> Result<Progress, Error> {
        let range = match self.progress.get(PLACE)? {
            Some(last) => KeyRange::all().after(last),
            None => KeyRange::all(),
        };
        let mut scan = self.counts.scan(range)?;
        let (mut records, mut bytes) = (0, 0);
        loop {
            let pairs = scan.next(PAGE.min(PIECE_RECORDS - records))?;
            let Some((last, _)) = pairs.last() else { return Ok(Progress::Done) };
            for (word, count) in pairs.iter() {
                out.emit(COUNTS, word, format_args!("{}", counter(count)?));
            }
            records += u32::try_from(pairs.len()).map_err(Error::fatal)?;
            bytes += pairs.bytes();
            if records >= PIECE_RECORDS || bytes >= PIECE_BYTES {
                self.progress.put(PLACE, last)?;
                return Ok(Progress::More);
            }
        }
    }
}

gregor::export!(Count);
