//! Rows that are written: the header line of the first record, what stands in quotes, and which objects don't fit.

use super::*;

/// Writes objects one after another into a file; what comes of the last one.
fn check(objects: &[&str], expected: Result<&str, &str>) {
    let (mut columns, mut bytes) = (Vec::new(), Vec::new());
    let mut last = Ok(());
    for object in objects {
        assert_eq!(last, Ok(()), "{objects:?}");
        last = write_object(&mut columns, object.as_bytes(), &mut bytes);
    }
    match (last, expected) {
        (Ok(()), Ok(expected)) => assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{objects:?}"),
        (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{objects:?}: {reason}"),
        other => panic!("{objects:?}: {other:?}"),
    }
}

#[test]
fn the_first_object_gives_the_columns_of_all() {
    check(&["{\"b\":\"1\",\"a\":2}"], Ok("b,a\n1,2\n"));
    check(&["{\"b\":1,\"a\":2}", "{\"a\":3,\"b\":4}"], Ok("b,a\n1,2\n4,3\n"));
    check(
        &["{\"b\":1,\"a\":2}", "{\"a\":3}"],
        Err("the names in its value are \"a\", expected those of the file's first record: \"b\", \"a\""),
    );
    check(&["{\"b\":1}", "{\"b\":3,\"a\":1}"], Err("the names in its value are \"a\", \"b\", expected"));
    check(&["{\"b\":1}", "{}"], Err("expected those of the file's first record: \"b\""));
    check(&["{}"], Err("an object of 0 members"));
    check(&["[]"], Err("is no JSON object"));
}

#[test]
fn fields_stand_in_quotes_where_they_would_read_back_as_others() {
    check(&["{\"a\":\"x y\",\"b\":\" \"}"], Ok("a,b\nx y, \n"));
    check(
        &["{\"a\":\"1,2\",\"b,\":\"\\\"q\\\"\",\"c\":\"l\\n\",\"d\":\"\\r\"}"],
        Ok("a,\"b,\",c,d\n\"1,2\",\"\"\"q\"\"\",\"l\n\",\"\r\"\n"),
    );
    check(&["{\"\":\"\"}"], Ok("\"\"\n\"\"\n"));
    check(&["{\"a\":\"\",\"b\":null}"], Ok("a,b\n,\n"));
    check(&["{\"\\ufeffa\":\"\"}"], Ok("\"\u{feff}a\"\n\"\"\n"));
}

#[test]
fn a_file_has_only_so_many_columns() {
    let header = |columns: usize| (0..columns).map(|column| column.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(Header::parse(header(COLUMNS_MAX).as_bytes()).unwrap().names.len(), COLUMNS_MAX);
    assert!(Header::parse(header(COLUMNS_MAX + 1).as_bytes()).unwrap_err().contains("more than 65536 columns"));
}
