//! As much of JSON as formats need: is it a document, and what are the members of an object whose values are texts, numbers, `true`, `false` and
//! `null`. Numbers stay the text that they are, since a float would not hold them. Refuses what is no document, objects in objects, and lists.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::de::IgnoredAny;

/// White space of JSON.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The name and the value of a member of an object.
pub(crate) type Member<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The text of one JSON document.
///
/// # Errors
/// What is wrong with the value.
pub(crate) fn check(value: &[u8]) -> Result<&str, String> {
    let text = str::from_utf8(value).map_err(|error| format!("its value is not UTF-8 at byte {}, expected JSON", error.valid_up_to()))?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("its value is not one JSON document: {error}")),
    }
}

/// Whether there is nothing but white space.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

/// Appends a text as JSON, in quotes.
pub(crate) fn write_text(text: &str, into: &mut Vec<u8>) {
    let begin = into.len();
    if serde_json::to_writer(&mut *into, text).is_err() {
        // Writing a text to memory has no way to fail; were there one, the text would be empty rather than half.
        into.truncate(begin);
        into.extend_from_slice(b"\"\"");
    }
}

/// A name in quotes, for people: its beginning.
pub(crate) fn shown(name: &str) -> String {
    const CHARACTERS: usize = 40;
    let mut rest = name.chars();
    let begin: String = rest.by_ref().take(CHARACTERS).collect();
    if rest.next().is_some() { format!("{begin:?}…") } else { format!("{begin:?}") }
}

/// The members of an object, in their order, each value as a text: a text is itself, `null` is empty, all else is as it is written. `text` is one
/// JSON document.
///
/// # Errors
/// It is no object, a value is an object or list, a name is there twice, or a text has half of a surrogate pair.
pub(crate) fn members(text: &str) -> Result<Vec<Member<'_>>, String> {
    let trimmed = text.trim_matches(SPACE);
    let Some(mut rest) = trimmed.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return Err("its value is no JSON object, expected one whose names are the columns".to_owned());
    };
    let (mut members, mut names) = (Vec::new(), BTreeSet::new());
    loop {
        rest = rest.trim_start_matches(SPACE);
        if rest.is_empty() {
            return Ok(members);
        }
        let (name, behind) = take_text(rest)?;
        if !names.insert(name.clone()) {
            return Err(format!("its value has the name {} twice", shown(&name)));
        }
        let behind = behind.trim_start_matches(SPACE).trim_start_matches(':').trim_start_matches(SPACE);
        let (value, behind) = match behind.chars().next() {
            Some('"') => take_text(behind)?,
            Some('{' | '[') => {
                let name = shown(&name);
                return Err(format!("the value of {name} is an object or a list, expected a text, a number, true, false or null"));
            }
            _ => {
                let end = behind.find([',', ' ', '\t', '\n', '\r']).unwrap_or(behind.len());
                let (value, behind) = behind.split_at_checked(end).unwrap_or((behind, ""));
                (Cow::Borrowed(if value == "null" { "" } else { value }), behind)
            }
        };
        members.push((name, value));
        let behind = behind.trim_start_matches(SPACE);
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
}

/// The text in quotes that stands first, and what stands behind it.
fn take_text(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let (mut end, mut is_escaped) = (text.len(), true);
    // The first quote opens, so it counts as one that is escaped.
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => {
                end = at + 1;
                break;
            }
            _ => {}
        }
    }
    let (quoted, behind) = text.split_at_checked(end).unwrap_or((text, ""));
    if !quoted.contains('\\') {
        let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted);
        return Ok((Cow::Borrowed(inner), behind));
    }
    let text = serde_json::from_str::<String>(quoted).map_err(|error| format!("its value has a text that can't be written: {error}"))?;
    Ok((Cow::Owned(text), behind))
}

#[cfg(test)]
mod tests;
