//! Members of objects: names and values as they are, and what can't be one told.

use super::*;

fn check_members(text: &str, expected: Result<&[(&str, &str)], &str>) {
    let found = check(text.as_bytes()).and_then(members);
    let found = found.as_ref().map(|members| members.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect::<Vec<_>>());
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
        (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{text}: {reason}"),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn members_keep_their_order_and_numbers_stay_the_text_that_they_are() {
    check_members("{}", Ok(&[]));
    check_members(" { \"b\" : 1 , \"a\":\"x\" } ", Ok(&[("b", "1"), ("a", "x")]));
    check_members(
        "{\"n\":1.10,\"m\":12345678901234567890123,\"e\":-1E+400}",
        Ok(&[("n", "1.10"), ("m", "12345678901234567890123"), ("e", "-1E+400")]),
    );
    check_members("{\"t\":true,\"f\":false,\"z\":null,\"s\":\"null\"}", Ok(&[("t", "true"), ("f", "false"), ("z", ""), ("s", "null")]));
    check_members("{\"a,b:}{\":\"c,d:\\\"}\\\\\",\"\":\"\\u00e9\\n\"}", Ok(&[("a,b:}{", "c,d:\"}\\"), ("", "é\n")]));
    check_members("{\"é\":\"\\ud83d\\ude00\"}", Ok(&[("é", "😀")]));
}

#[test]
fn what_has_no_members_or_none_that_are_texts_is_told() {
    check_members("", Err("its value is not one JSON document"));
    check_members("{\"a\":1", Err("its value is not one JSON document"));
    check_members("{\"a\":1} {}", Err("its value is not one JSON document: trailing characters"));
    check_members("{\"a\":01}", Err("its value is not one JSON document"));
    check_members("[1]", Err("is no JSON object"));
    check_members("\"{}\"", Err("is no JSON object"));
    check_members("{\"a\":{\"b\":1}}", Err("the value of \"a\" is an object or a list"));
    check_members("{\"a\":1,\"b\":[ ]}", Err("the value of \"b\" is an object or a list"));
    check_members("{\"a\":1,\"\\u0061\":2}", Err("the name \"a\" twice"));
    check_members("{\"a\":\"\\ud800\"}", Err("a text that can't be written"));
    assert!(check(b"\"\xff\"").unwrap_err().contains("not UTF-8 at byte 1"));
    assert_eq!(shown(&"x".repeat(50)), format!("\"{}\"…", "x".repeat(40)));
}

#[test]
fn deep_documents_are_looked_through_without_a_stack() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    assert!(check(deep.as_bytes()).is_ok());
}
