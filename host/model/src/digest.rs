//! SHA-256 digests: how components, segments and archive objects are named and checked. Refuses texts that are not 64 hexadecimal digits.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::names::InvalidName;

/// A SHA-256 digest; as text 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// The text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { what: "digest", found: text.to_owned(), alphabet: "0-9 a-f, 64 of them" };
        let mut bytes = [0_u8; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(invalid());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(invalid()),
                };
                *byte = (*byte << 4) | value;
            }
        }
        Ok(Self(bytes))
    }
}

/// Bytes as pairs of lower-case hexadecimal digits. Of what a segment's hash covers most are digests and tokens: they are written without `fmt`.
pub(crate) struct Hex<const N: usize>([[u8; 2]; N]);

impl<const N: usize> Hex<N> {
    /// The digits of these bytes.
    pub(crate) fn of(bytes: [u8; N]) -> Self {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + (value - 10) };
        Self(bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)]))
    }

    /// The digits as a text.
    pub(crate) fn as_str(&self) -> &str {
        // Digits are ASCII; were they not, the empty text is no digest and no token.
        str::from_utf8(self.0.as_flattened()).unwrap_or_default()
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Hex::of(self.0).as_str())
    }
}

/// Computes a digest piece by piece.
#[derive(Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Hex::of(self.0).as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest = Digest::of(b"abc");
        // FIPS 180-4, example 1.
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
        assert!(Digest::parse("ba78").is_err());
        assert!(Digest::parse(&digest.to_string().to_uppercase()).is_err());
    }
}
