//! The hostile guests: the component of `tests/hostile/src` in one of its modes, those of `tests/hostile/wat` in their frame, and bombs that are made
//! here, since as files they would be megabytes of one thing. Refuses parts of a file for which the frame has no place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::{plugins, root};

/// Who a hostile guest is.
#[derive(Debug, Clone)]
pub(crate) enum Guest {
    /// The component written in Rust, which does what its configuration names.
    Rust(&'static str),
    /// A file of `tests/hostile/wat`, without its ending.
    Wat(&'static str),
    /// Bytes, by the name of what they do.
    Made(&'static str, Vec<u8>),
}

impl Guest {
    /// What it is called in a report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rust(name) | Self::Wat(name) | Self::Made(name, _) => name,
        }
    }

    /// Its component.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Rust(_) => fs::read(plugins().join("hostile/hostile.wasm")).unwrap(),
            Self::Wat(name) => {
                let text = fs::read_to_string(root().join("tests/hostile/wat").join(name).with_extension("wat")).unwrap();
                framed(&parts(&text))
            }
            Self::Made(_, bytes) => bytes.clone(),
        }
    }
}

/// The parts of a file, by the places that they take.
fn parts(text: &str) -> BTreeMap<&str, &str> {
    text.split("\n;;; ").skip(1).map(|part| part.split_once('\n').unwrap()).map(|(name, text)| (name.trim(), text)).collect()
}

/// The frame with these parts.
fn framed(parts: &BTreeMap<&str, &str>) -> Vec<u8> {
    let frame = fs::read_to_string(root().join("tests/hostile/wat/frame.wat")).unwrap();
    let mut text = String::new();
    let mut used = 0;
    for piece in frame.split('{') {
        match piece.split_once('}').and_then(|(place, rest)| Some((place.split_once(':')?, rest))) {
            Some(((name, usual), rest)) => {
                let part = parts.get(name);
                used += usize::from(part.is_some());
                text.push_str(part.copied().unwrap_or(usual));
                text.push_str(rest);
            }
            None => text.push_str(piece),
        }
    }
    assert_eq!(used, parts.len(), "the frame has no place for one of {:?}", parts.keys());
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// Loops in loops, all of which change all variables: each is a value of its own in each of them, so that work and memory of a compiler grow with the
/// product of both, and the file with their sum.
pub(crate) fn entangled(loops: usize, variables: usize) -> Vec<u8> {
    let mut body = format!("(func (local{})", " i32".repeat(variables));
    (0..loops).for_each(|_| body.push_str("(loop "));
    for variable in 0..variables {
        write!(body, "(local.set {variable} (i32.add (local.get {variable}) (local.get {})))", (variable + 1) % variables).unwrap();
    }
    (0..loops).for_each(|at| write!(body, "(br_if 0 (local.get {})))", at % variables).unwrap());
    body.push(')');
    framed(&[("inner", body.as_str())].into())
}

/// A component that consists of two, each of which consists of two, and so on: a file of a kilobyte, and 2^`doublings` instances.
pub(crate) fn doubled(doublings: usize) -> Vec<u8> {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for at in 1..=doublings {
        let before = at - 1;
        write!(text, "(component $c{at} (instance (instantiate $c{before})) (instance (instantiate $c{before})))").unwrap();
    }
    write!(text, "(instance (instantiate $c{doublings}))").unwrap();
    framed(&[("first", text.as_str())].into())
}

/// A component with so many core instances more than the frame has.
pub(crate) fn many_instances(more: usize) -> Vec<u8> {
    let text = format!("(core module $empty) {}", "(core instance (instantiate $empty))".repeat(more));
    framed(&[("first", text.as_str())].into())
}

/// An import whose parameter is a list of lists of lists.
pub(crate) fn nested_lists(depth: usize) -> Vec<u8> {
    let mut text = "(type $t0 (list u8))".to_owned();
    for at in 1..depth {
        write!(text, "(type $t{at} (list $t{}))", at - 1).unwrap();
    }
    let last = depth - 1;
    write!(
        text,
        r#"(import "gregor:task/context@0.1.0" (instance (alias outer 1 $t{last} (type $t)) (export "now" (func (param "t" $t)))))"#
    )
    .unwrap();
    framed(&[("first", text.as_str())].into())
}

/// A type of components that have a type of components that have a type. Written byte by byte: in text it would be as deep for the reader of texts.
pub(crate) fn nested_component_types(depth: usize) -> Vec<u8> {
    const COMPONENT_TYPE: u8 = 0x41;
    const DECLARED_TYPE: u8 = 0x01;
    let mut body = vec![1];
    (1..depth).for_each(|_| body.extend([COMPONENT_TYPE, 1, DECLARED_TYPE]));
    body.extend([COMPONENT_TYPE, 0]);
    let mut bytes = framed(&BTreeMap::new());
    section(&mut bytes, 7, &body);
    bytes
}

/// Components in components.
pub(crate) fn nested_components(depth: usize) -> Vec<u8> {
    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";
    // From the inside: each is the head, and a section with the length of the one in it.
    let (mut heads, mut length) = (Vec::new(), HEAD.len());
    for _ in 1..depth {
        let head = [HEAD, &begin_section(4, length)].concat();
        length += head.len();
        heads.push(head);
    }
    let mut bytes = framed(&BTreeMap::new());
    bytes.extend(begin_section(4, length));
    bytes.extend(heads.into_iter().rev().flatten());
    bytes.extend(HEAD);
    bytes
}

fn section(bytes: &mut Vec<u8>, id: u8, body: &[u8]) {
    bytes.extend(begin_section(id, body.len()));
    bytes.extend_from_slice(body);
}

/// The number of a section, and the length of its body.
fn begin_section(id: u8, mut length: usize) -> Vec<u8> {
    let mut bytes = vec![id];
    while length > 0x7f {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes
}
