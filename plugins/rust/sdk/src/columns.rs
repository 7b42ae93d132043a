//! Byte strings in columns, for the bulk calls of a store. Refuses to allocate per string.

use crate::bindings::gregor::task::state;

/// Columns without any string.
pub(crate) const fn empty() -> state::Columns {
    state::Columns { data: Vec::new(), ends: Vec::new(), nulls: Vec::new() }
}

/// Forgets all strings, but keeps the memory.
pub(crate) fn clear(columns: &mut state::Columns) {
    columns.data.clear();
    columns.ends.clear();
    columns.nulls.clear();
}

/// Appends a string, or an absent one.
#[inline]
pub(crate) fn push(columns: &mut state::Columns, string: Option<&[u8]>) {
    let index = columns.ends.len();
    columns.data.extend_from_slice(string.unwrap_or_default());
    // Where a task runs, a length has 32 bits, so none is ever cut.
    columns.ends.push(u32::try_from(columns.data.len()).unwrap_or(u32::MAX));
    if string.is_none() || !columns.nulls.is_empty() {
        columns.nulls.resize((index + 1).div_ceil(8), 0);
    }
    if string.is_none()
        && let Some(byte) = columns.nulls.get_mut(index / 8)
    {
        *byte |= 1 << (index % 8);
    }
}

/// The string at an index; none where it is absent or not there at all.
#[inline]
pub(crate) fn get(columns: &state::Columns, index: usize) -> Option<&[u8]> {
    let start = match index.checked_sub(1) {
        Some(before) => *columns.ends.get(before)?,
        None => 0,
    };
    let end = *columns.ends.get(index)?;
    if columns.nulls.get(index / 8).is_some_and(|byte| (byte >> (index % 8)) & 1 == 1) {
        return None;
    }
    let place = |end: u32| usize::try_from(end).unwrap_or(usize::MAX);
    Some(columns.data.get(place(start)..place(end)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More strings than a byte of nulls has bits.
    const STRINGS: [Option<&[u8]>; 10] =
        [Some(b"a"), Some(b""), None, Some(b"bcd"), Some(b"e"), Some(b"f"), Some(b"g"), Some(b"h"), None, Some(b"i")];

    #[test]
    fn what_is_pushed_is_read_back() {
        let mut columns = empty();
        STRINGS.iter().for_each(|&string| push(&mut columns, string));
        assert_eq!(columns.nulls, [0b0000_0100, 0b0000_0001]);
        assert_eq!((0..10).map(|index| get(&columns, index)).collect::<Vec<_>>(), STRINGS);
        assert_eq!(get(&columns, 10), None);
    }

    #[test]
    fn nulls_stay_empty_as_long_as_nothing_is_absent() {
        let mut columns = empty();
        push(&mut columns, Some(b"a"));
        push(&mut columns, None);
        clear(&mut columns);
        push(&mut columns, Some(b"bc"));
        assert_eq!((columns.data.as_slice(), columns.ends.as_slice(), columns.nulls.as_slice()), (b"bc".as_slice(), &[2][..], &[][..]));
    }
}
