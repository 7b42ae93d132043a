//! The file of one compiled component: a header that binds the code to what it was made of. Refuses to answer the code of a file that is cut,
//! altered, of another version, or made of something else.
//!
//! | offset | length | content |
//! |---|---|---|
//! | 0 | 8 | `GRGCODE`, version byte 1 |
//! | 8 | 32 | SHA-256 of all that follows |
//! | 40 | 32 | SHA-256 of the component |
//! | 72 | 32 | digest of the compiler: see `Engine::compiler` |
//! | 104 | … | the code, as wasmtime writes it |

use gregor_model::digest::{Digest, Digester};

use super::Key;

/// What a file begins with. Another version is no error: the file is a cache, and will be replaced.
const MAGIC: [u8; 8] = *b"GRGCODE\x01";
/// Bytes before the code.
const HEADER_BYTES: usize = 104;

/// What stands before the code in the file of this key.
pub(super) fn header(key: &Key, code: &[u8]) -> Vec<u8> {
    let made_of = [key.component.0, key.compiler.0].concat();
    let mut digester = Digester::default();
    digester.update(&made_of);
    digester.update(code);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&digester.finish().0);
    header.extend_from_slice(&made_of);
    header
}

/// The code in a file, if it is the whole and unaltered file of this key.
///
/// # Errors
/// What is wrong with it.
pub(super) fn code_of<'f>(key: &Key, file: &'f [u8]) -> Result<&'f [u8], &'static str> {
    const CUT: &str = "it is cut short";
    let (magic, rest) = file.split_first_chunk().ok_or(CUT)?;
    if *magic != MAGIC {
        return Err("it is not of the version that is known here");
    }
    let (digest, rest) = rest.split_first_chunk().ok_or(CUT)?;
    if Digest::of(rest) != Digest(*digest) {
        return Err("its bytes do not match their digest");
    }
    let of_component = rest.strip_prefix(&key.component.0).ok_or("it was made of another component")?;
    of_component.strip_prefix(&key.compiler.0).ok_or("it was made by another compiler")
}
