use super::*;

fn rows(format: RowFormat, text: impl AsRef<[u8]>) -> Vec<Row> {
    limited(format, text, 1000)
}

fn limited(format: RowFormat, text: impl AsRef<[u8]>, max_line_bytes: usize) -> Vec<Row> {
    // A small buffer, so that lines cross its end.
    let input = io::BufReader::with_capacity(7, text.as_ref());
    let mut rows = Rows::new(input, format, max_line_bytes);
    std::iter::from_fn(|| rows.next().expect("memory can be read")).collect()
}

/// Line and content of each row, the content as `key=value` or the reason.
fn shown(rows: &[Row]) -> Vec<(u64, String)> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    rows.iter()
        .map(|row| match &row.content {
            Ok((key, value)) => (row.line, format!("{}={}", text(key), text(value))),
            Err(reason) => (row.line, reason.clone()),
        })
        .collect()
}

fn expect(rows: &[Row], expected: &[(u64, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|&(line, text)| (line, text.to_owned()))
        .collect();
    assert_eq!(shown(rows), expected);
}

#[test]
fn lines_are_numbered_with_blank_ones() {
    let rows = rows(RowFormat::Lines, "\u{feff}a\r\n\nb c\nlast");
    expect(&rows, &[(1, "a=1"), (3, "b c=3"), (4, "last=4")]);
    assert_eq!(
        rows.iter().map(|row| row.end).collect::<Vec<_>>(),
        [6, 11, 15]
    );
}

#[test]
fn bad_tsv_rows_are_named_by_line_and_the_rest_is_read() {
    let text = "a\t1\nno tab\n\"x\ty\"\t2\r\n\n\"tis\t3\nb\t4\n\"twas\t5\nc\t6\n";
    let unclosed = "the key starts with a quote that ends inside it";
    expect(
        &rows(RowFormat::Tsv, text),
        &[
            (1, "a=1"),
            (2, "there is no tab, so there is no value"),
            (3, "x\ty=2"),
            (5, unclosed),
            (6, "b=4"),
            (7, "a field starts with a quote that is not closed"),
            (8, "c=6"),
        ],
    );
}

#[test]
fn a_quoted_field_over_several_lines_is_one_row() {
    let rows = rows(RowFormat::Tsv, "a\t\"1\n2\n\n3\"\nb\t4\n");
    expect(&rows, &[(1, "a=1\n2\n\n3"), (5, "b=4")]);
    assert_eq!(rows[0].end, 11);
}

#[test]
fn a_quote_that_is_not_closed_costs_one_row() {
    let mut text = "\"open\t0\n".to_owned();
    for line in 1..1000 {
        text.push_str(&format!("k{line}\tv\n"));
    }
    let rows = limited(RowFormat::Tsv, &text, 100);
    assert_eq!(rows.len(), 1000);
    assert!(rows[0].content.is_err());
    assert!(rows[1..].iter().all(|row| row.content.is_ok()));
    assert!(rows.iter().zip(1..).all(|(row, line)| row.line == line));
}

#[test]
fn an_overlong_line_is_bad_and_not_kept() {
    let text = ["a\t1\n", &"x".repeat(10_000), "\nb\t2\n"].concat();
    expect(
        &limited(RowFormat::Tsv, text, 50),
        &[
            (1, "a=1"),
            (2, "the line is over the limit of 50 bytes"),
            (3, "b=2"),
        ],
    );
}

#[test]
fn json_rows_say_what_is_wrong_with_them() {
    let text = concat!(
        "{\"key\": \"a\", \"value\": \"1\", \"more\": [1]}\n",
        "{\"key\": \"a\"\n",
        "{\"key\": \"a\"}\n",
        "{\"key\": \"a\", \"value\": 1}\n",
        "{\"key_base64\": \"AA==\", \"value\": \"\\u00e9\"}\n",
        "{\"key_base64\": \"!\", \"value\": \"\"}\n",
        "{\"key\": \"a\", \"key_base64\": \"AA==\", \"value\": \"\"}\n",
        "[]\n",
    );
    expect(
        &rows(RowFormat::Jsonl, text),
        &[
            (1, "a=1"),
            (2, "EOF while parsing an object at column 11"),
            (3, "there is no field `value` (or `value_base64`)"),
            (
                4,
                "invalid type: integer `1`, expected a string at column 23",
            ),
            (5, "\0=é"),
            (
                6,
                "field `key_base64` is not base64: Invalid symbol 33, offset 0.",
            ),
            (7, "there are both `key` and `key_base64`"),
            (8, "this is not a JSON object"),
        ],
    );
}

#[test]
fn the_format_is_guessed_by_the_ending() {
    for (name, format) in [
        ("a.tsv", Some(RowFormat::Tsv)),
        ("a.JSONL", Some(RowFormat::Jsonl)),
        ("a.ndjson", Some(RowFormat::Jsonl)),
        ("words.txt", Some(RowFormat::Lines)),
        ("words", None),
        ("a.csv", None),
    ] {
        assert_eq!(RowFormat::of_path(Path::new(name)), format, "{name}");
    }
}
