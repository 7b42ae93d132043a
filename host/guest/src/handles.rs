//! What a guest holds handles of, with a bound on each kind: a handle costs the host memory, and a guest may forget to give it back.
//! Refuses handles beyond the bound, and cursors of an earlier call, by a trap that says so.

use gregor_model::limits::{CURSORS_MAX, METRIC_HANDLES_MAX, POLLABLES_MAX, STORE_HANDLES_MAX};

use crate::failure::Stop;
use crate::services::CursorId;

/// All handles of one instance.
#[derive(Debug)]
pub(crate) struct Handles {
    /// How many store handles the guest has.
    stores: usize,
    /// Cursors.
    pub(crate) cursors: Cursors,
    /// Metric series.
    pub(crate) series: Slots<Series>,
    /// Pollables: the instant from which each is ready, on the monotonic clock in nanoseconds; none = always.
    pub(crate) pollables: Slots<Option<u64>>,
}

/// A metric series as its handle knows it.
#[derive(Debug)]
pub(crate) struct Series {
    /// The metric's name.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: Vec<(String, String)>,
}

impl Handles {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self {
            stores: 0,
            cursors: Cursors { open: Vec::new(), held: 0, next: 0 },
            series: Slots::new("metric handles", METRIC_HANDLES_MAX),
            pollables: Slots::new("pollables", POLLABLES_MAX),
        }
    }

    /// One more store handle.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn open_store(&mut self) -> Result<(), Stop> {
        if self.stores >= STORE_HANDLES_MAX {
            return Err(too_many("store handles", STORE_HANDLES_MAX));
        }
        self.stores += 1;
        Ok(())
    }

    /// One store handle less.
    pub(crate) const fn drop_store(&mut self) {
        self.stores = self.stores.saturating_sub(1);
    }
}

/// Cursors: the open ones of this call, and how many handles the guest holds, of earlier calls too.
#[derive(Debug)]
pub(crate) struct Cursors {
    open: Vec<(u32, CursorId)>,
    held: usize,
    /// Numbers are never used twice, so that a handle of an earlier call can't mean a cursor of this one.
    next: u32,
}

impl Cursors {
    /// Whether one more may be opened.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn check_room(&self) -> Result<(), Stop> {
        if self.open.len() >= CURSORS_MAX {
            return Err(too_many("open cursors", CURSORS_MAX));
        }
        if self.held >= STORE_HANDLES_MAX || self.next == u32::MAX {
            return Err(too_many("cursor handles", STORE_HANDLES_MAX));
        }
        Ok(())
    }

    /// Takes an opened cursor in; answers the number of its handle. `check_room` was asked before.
    pub(crate) fn add(&mut self, cursor: CursorId) -> u32 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.held += 1;
        self.open.push((number, cursor));
        number
    }

    /// The cursor of a handle.
    ///
    /// # Errors
    /// It was opened in an earlier call.
    pub(crate) fn get(&self, number: u32) -> Result<CursorId, Stop> {
        let found = self.open.iter().find(|(open, _)| *open == number);
        found
            .map(|&(_, cursor)| cursor)
            .ok_or_else(|| Stop::Trap("a cursor ends with its call; this one was opened in an earlier call".to_owned()))
    }

    /// Takes a handle back; answers the cursor to close, if it is still open.
    pub(crate) fn remove(&mut self, number: u32) -> Option<CursorId> {
        self.held = self.held.saturating_sub(1);
        let at = self.open.iter().position(|(open, _)| *open == number)?;
        Some(self.open.swap_remove(at).1)
    }

    /// Takes all open cursors, which the caller closes: the call is over.
    pub(crate) fn take_open(&mut self) -> Vec<CursorId> {
        std::mem::take(&mut self.open).into_iter().map(|(_, cursor)| cursor).collect()
    }
}

/// Numbered places for things of one kind, of bounded number.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    what: &'static str,
    max: usize,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    const fn new(what: &'static str, max: usize) -> Self {
        Self { what, max, slots: Vec::new(), free: Vec::new() }
    }

    /// Puts a thing in; answers its number.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn insert(&mut self, thing: T) -> Result<u32, Stop> {
        if let Some(number) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(number as usize)
        {
            *slot = Some(thing);
            return Ok(number);
        }
        let number = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        if self.slots.len() >= self.max {
            return Err(too_many(self.what, self.max));
        }
        self.slots.push(Some(thing));
        Ok(number)
    }

    /// The thing of a number.
    ///
    /// # Errors
    /// There is none, which the tables of wasmtime rule out.
    pub(crate) fn get(&self, number: u32) -> Result<&T, Stop> {
        let found = self.slots.get(number as usize).and_then(Option::as_ref);
        found.ok_or_else(|| Stop::Trap(format!("there is no {} {number}", self.what)))
    }

    /// Takes a thing out.
    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(slot) = self.slots.get_mut(number as usize)
            && slot.take().is_some()
        {
            self.free.push(number);
        }
    }
}

fn too_many(what: &str, max: usize) -> Stop {
    Stop::Trap(format!("the limit of {max} {what} is reached; drop those that are done with"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_only_after_its_thing_is_gone() {
        let mut slots = Slots::new("things", 2);
        let (first, second) = (slots.insert('a').unwrap(), slots.insert('b').unwrap());
        assert_ne!(first, second);
        assert_eq!(slots.insert('c').unwrap_err().to_string(), "the limit of 2 things is reached; drop those that are done with");
        slots.remove(first);
        slots.remove(first);
        assert_eq!(slots.insert('d').unwrap(), first);
        assert!(slots.insert('e').is_err());
        assert_eq!((slots.get(first).ok(), slots.get(second).ok()), (Some(&'d'), Some(&'b')));
    }

    #[test]
    fn a_cursor_of_an_earlier_call_is_never_one_of_this() {
        let mut cursors = Handles::new().cursors;
        let old = cursors.add(CursorId(7));
        assert_eq!(cursors.take_open(), [CursorId(7)]);
        let new = cursors.add(CursorId(7));
        assert!(cursors.get(old).is_err());
        assert_eq!(cursors.get(new).unwrap(), CursorId(7));
        assert_eq!((cursors.remove(old), cursors.remove(new)), (None, Some(CursorId(7))));
    }

    #[test]
    fn cursors_that_are_kept_over_calls_are_counted() {
        let mut cursors = Handles::new().cursors;
        for _ in 0..STORE_HANDLES_MAX {
            cursors.check_room().unwrap();
            cursors.add(CursorId(0));
            cursors.take_open();
        }
        assert!(cursors.check_room().unwrap_err().to_string().contains("1024 cursor handles"));
    }
}
