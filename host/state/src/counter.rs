//! Counters: values of 8 bytes, a signed 64-bit number, little-endian. Refuses values of another length and sums out of range.

use crate::error::StateError;

/// The value of a counter after `amount` is added to it; an absent one counts as 0.
pub(crate) fn add(value: Option<&[u8]>, amount: i64) -> Result<i64, StateError> {
    let before = match value {
        None => 0,
        Some(value) => i64::from_le_bytes(value.try_into().map_err(|_| StateError::NotACounter(value.len() as u64))?),
    };
    before.checked_add(amount).ok_or(StateError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_adds_and_refuses_what_is_none_or_too_much() {
        assert_eq!(add(None, -3).unwrap(), -3);
        assert_eq!(add(Some(&40_i64.to_le_bytes()), 2).unwrap(), 42);
        assert!(matches!(add(Some(b"7"), 1), Err(StateError::NotACounter(1))));
        assert!(matches!(add(Some(&i64::MAX.to_le_bytes()), 1), Err(StateError::Overflow)));
        assert!(matches!(add(Some(&i64::MIN.to_le_bytes()), -1), Err(StateError::Overflow)));
    }
}
