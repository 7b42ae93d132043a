//! What a key or a value can be made of. Refuses to allocate: each form writes itself into the columns of the output.

use std::fmt::{self, Write};

/// Whether a key or value is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is, though perhaps empty.
    Present,
    /// It is not: a record without key, or a tombstone.
    Absent,
}

/// A key or value to emit: bytes, text, `format_args!(…)`, an `Option` of these, [`ABSENT`], or [`written`] by a function.
pub trait Field {
    /// Writes itself; says whether it is there. What an absent one has written does not count.
    fn write(self, to: &mut FieldWriter<'_>) -> Presence;
}

/// Where a [`Field`] writes itself: the end of a column.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    data: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> FieldWriter<'a> {
    /// Writes at the end of `data`, and leaves alone what is there.
    #[inline]
    pub const fn new(data: &'a mut Vec<u8>) -> Self {
        let start = data.len();
        Self { data, start }
    }

    /// Takes back what was written.
    pub(crate) fn clear(&mut self) {
        self.data.truncate(self.start);
    }

    /// Appends bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Appends bytes in lower case, as [`u8::to_ascii_lowercase`] has it.
    #[inline]
    pub fn extend_lowercase(&mut self, bytes: &[u8]) {
        self.data.extend(bytes.iter().map(u8::to_ascii_lowercase));
    }

    /// Appends a byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.data.push(byte);
    }

    /// What was written so far, to be changed in place.
    #[inline]
    pub fn written(&mut self) -> &mut [u8] {
        self.data.get_mut(self.start..).unwrap_or_default()
    }
}

impl Write for FieldWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.extend(text.as_bytes());
        Ok(())
    }
}

/// No key, or no value: see [`ABSENT`].
#[derive(Debug, Clone, Copy)]
pub struct Absent;

/// No key, or no value.
pub const ABSENT: Absent = Absent;

impl Field for Absent {
    #[inline]
    fn write(self, _: &mut FieldWriter<'_>) -> Presence {
        Presence::Absent
    }
}

impl<F: Field> Field for Option<F> {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        self.map_or(Presence::Absent, |field| field.write(to))
    }
}

impl Field for &[u8] {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        to.extend(self);
        Presence::Present
    }
}

impl<const N: usize> Field for &[u8; N] {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        self.as_slice().write(to)
    }
}

impl Field for &Vec<u8> {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        self.as_slice().write(to)
    }
}

impl Field for &str {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        self.as_bytes().write(to)
    }
}

impl Field for &String {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        self.as_bytes().write(to)
    }
}

impl Field for fmt::Arguments<'_> {
    /// Text of which a part refuses to be formatted ends there, as with [`ToString`] it would panic.
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        let _ = to.write_fmt(self);
        Presence::Present
    }
}

/// See [`written`].
#[derive(Debug, Clone, Copy)]
pub struct Written<F>(F);

/// A key or value that a function writes.
pub const fn written<F: FnOnce(&mut FieldWriter<'_>)>(by: F) -> Written<F> {
    Written(by)
}

impl<F: FnOnce(&mut FieldWriter<'_>)> Field for Written<F> {
    #[inline]
    fn write(self, to: &mut FieldWriter<'_>) -> Presence {
        self.0(to);
        Presence::Present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: impl Field, expected: (Presence, &str)) {
        let mut data = b"before ".to_vec();
        let presence = field.write(&mut FieldWriter::new(&mut data));
        assert_eq!((presence, String::from_utf8(data).unwrap()), (expected.0, format!("before {}", expected.1)));
    }

    #[test]
    fn every_form_of_a_field_writes_itself_behind_what_is_there() {
        check(b"abc", (Presence::Present, "abc"));
        check(b"abc".as_slice(), (Presence::Present, "abc"));
        check(&b"abc".to_vec(), (Presence::Present, "abc"));
        check("ä", (Presence::Present, "ä"));
        check(&"ä".to_owned(), (Presence::Present, "ä"));
        check(format_args!("{}", 42), (Presence::Present, "42"));
        check(Some("x"), (Presence::Present, "x"));
        check(None::<&str>, (Presence::Absent, ""));
        check(ABSENT, (Presence::Absent, ""));
        check("", (Presence::Present, ""));
    }

    #[test]
    fn a_function_can_change_what_it_wrote_but_not_what_was_there() {
        let shout = written(|to| {
            to.extend(b"abc");
            to.push(b'd');
            to.written().make_ascii_uppercase();
        });
        check(shout, (Presence::Present, "ABCD"));
    }
}
