use super::*;
use std::io::Write;

fn read(name: &str, bytes: &[u8]) -> Result<Vec<(usize, Record)>> {
    let mut found = Vec::new();
    let n = for_each_record_in(name, bytes, |line, record| {
        found.push((line, record));
        Ok(())
    })?;
    assert_eq!(n, found.len());
    Ok(found)
}

/// Lines and records, short.
fn shown(name: &str, bytes: &[u8]) -> Vec<String> {
    let show = |(line, record)| format!("{line} {}", Value::Object(record));
    read(name, bytes).unwrap().into_iter().map(show).collect()
}

fn message(name: &str, bytes: &[u8]) -> String {
    read(name, bytes).unwrap_err().to_string()
}

#[test]
fn json_lines_and_arrays() {
    let lines = "\u{feff}{\"a\": 1}\r\n\n{\"a\": \"x\", \"b\": [null]}";
    let expected = ["1 {\"a\":1}", "3 {\"a\":\"x\",\"b\":[null]}"];
    assert_eq!(shown("d.jsonl", lines.as_bytes()), expected);
    assert_eq!(shown("pasted", lines.as_bytes()), expected);
    let array = b"\n [ {\"a\": 1},\n {\"a\":\n 2} ]\n";
    assert_eq!(shown("d.json", array), ["1 {\"a\":1}", "2 {\"a\":2}"]);
    assert!(read("d.json", b" \n").unwrap().is_empty());
    for (bytes, parts) in [
        (&b"{\"a\": 1}\n{\"a\":"[..], ["line 2", "not valid JSON"]),
        (b"3", ["line 1", "no JSON object"]),
        (b"{}\n[1]", ["line 2", "found a JSON array"]),
        (b"[{\"a\": 1}, {\"a\" 2}]", ["record 2", "not valid JSON"]),
        (b"[{\"a\": 1}, 7]", ["record 2", "not valid JSON"]),
        (b"[{\"a\": 1}", ["record 2", "not valid JSON"]),
        (b"[{\"a\": 1}] x", ["record 2", "not valid JSON"]),
        (b"{}\n\xff{}", ["line 2", "UTF-8"]),
        (b"\xff\xfe{\0", ["line 1", "UTF-16"]),
    ] {
        let message = message("d.jsonl", bytes);
        for part in parts.iter().chain(&["d.jsonl"]) {
            assert!(message.contains(part), "{part:?} not in {message:?}");
        }
    }
}

#[test]
fn what_each_returns_ends_the_reading() {
    for bytes in [&b"{}\n{}\n{}"[..], b"[{},{},{}]", b"a\n1\n2\n3\n"] {
        let mut seen = 0;
        let error = for_each_record_in("pasted", bytes, |line, _| {
            seen = line;
            if seen >= 2 { Err(Error::invalid("price", "is odd")) } else { Ok(()) }
        });
        assert!(error.unwrap_err().to_string().contains("price: is odd"));
        assert!(seen <= 3);
    }
}

#[test]
fn csv_with_quotes_separators_and_line_ends() {
    let text =
        "\u{feff}id, text ,n\r\n1,\"say \"\"hi\"\",\nthen go\",\r\n\r\n2,5\" pipe,\"\"\n3,\"é\",x";
    assert_eq!(
        shown("d.csv", text.as_bytes()),
        [
            "2 {\"id\":\"1\",\"text\":\"say \\\"hi\\\",\\nthen go\",\"n\":\"\"}",
            "5 {\"id\":\"2\",\"text\":\"5\\\" pipe\",\"n\":\"\"}",
            "6 {\"id\":\"3\",\"text\":\"é\",\"n\":\"x\"}",
        ]
    );
    assert_eq!(shown("d.tsv", b"a\tb\n1,5\t2\n"), ["2 {\"a\":\"1,5\",\"b\":\"2\"}"]);
    assert_eq!(shown("pasted", b"a;\"b,c,d\"\n1;2\n"), ["2 {\"a\":\"1\",\"b,c,d\":\"2\"}"]);
}

#[test]
fn csv_in_the_dialects_of_other_programs() {
    let expected = ["2 {\"a\":\"1\",\"b\":\"x,y\"}", "3 {\"a\":\"#2\",\"b\":\"NA\"}"];
    for text in [
        "a,b\n1,\"x,y\"\n#2,NA\n",
        "a,b\r1,\"x,y\"\r#2,NA\r",
        "a,b\r\n1,\"x,y\"\r\n#2,NA",
        "a|b\n1|x,y\n#2|NA\n",
        "a\tb\n1\tx,y\n#2\tNA\n",
    ] {
        assert_eq!(shown("d.csv", text.as_bytes()), expected, "{text:?}");
    }
    // Excel's line above the header; the header alone would be read otherwise.
    for first in ["sep=;", "SEP=;", "\"sep=;\""] {
        let text = format!("{first}\r\na,b;c\r\n1;2\r\n");
        assert_eq!(shown("d.csv", text.as_bytes()), ["3 {\"a,b\":\"1\",\"c\":\"2\"}"]);
    }
    for first in ["sep=\t", "\"sep=\t\""] {
        let text = format!("{first}\ra\tb,c\r1\t2\r");
        assert_eq!(shown("d.csv", text.as_bytes()), ["3 {\"a\":\"1\",\"b,c\":\"2\"}"]);
    }
    assert!(shown("d.csv", b"sep=;\n").is_empty() && shown("d.csv", b"a,b\n").is_empty());
    // A tab is the separator of .tsv, and a line of nothing but separators is a record.
    assert_eq!(
        shown("d.tsv.gz", b"a, b,\tc\n1\t2\n\t\n \n"),
        ["2 {\"a, b,\":\"1\",\"c\":\"2\"}", "3 {\"a, b,\":\"\",\"c\":\"\"}"]
    );
    // The index of pandas has no name.
    assert_eq!(shown("d.csv", b",a\n0,x\n"), ["2 {\"Unnamed: 0\":\"0\",\"a\":\"x\"}"]);
    // Line ends in quotes stay as they are.
    assert_eq!(shown("d.csv", b"a\r\"x\ry\r\nz\"\r"), ["2 {\"a\":\"x\\ry\\r\\nz\"}"]);
}

#[test]
fn broken_csv_is_named_by_its_line() {
    for (bytes, parts) in [
        (&b"a,b\n1,2\n3,\"x\n4,5\n6,7\n"[..], ["line 3", "not closed until the end"]),
        (b"a,b\n1,\"x\"y\n", ["line 2", "behind a closing quote"]),
        (b"a,b\n1,\"x\n\ny\"z\n", ["line 4", "behind a closing quote"]),
        (b"a,b\n\n1,2,3\n", ["line 3", "3 fields, the header has 2"]),
        (b"a,b\n1\n", ["line 2", "1 fields"]),
        (b"a,b,a\n1,2,3\n", ["line 1", "called `a`"]),
        (b"a,b\n1,\xff\n", ["line 2", "not UTF-8 (Latin-1"]),
        (b"# of today\na,b\n1,2\n", ["line 2", "line 1, which begins with `#`"]),
        (b"a,b\r1,2\r3\r", ["line 3", "1 fields"]),
    ] {
        let message = message("d.csv", bytes);
        for part in parts.iter().chain(&["d.csv"]) {
            assert!(message.contains(part), "{part:?} not in {message:?}");
        }
    }
}

#[test]
fn json_of_other_programs_is_read_or_named() {
    let expected = ["1 {\"a\":1}", "2 {\"a\":2}"];
    for text in [&b"{\"a\":1}\r{\"a\":2}\r"[..], b"\xef\xbb\xbf{\"a\":1}\r\n{\"a\":2}"] {
        assert_eq!(shown("d.jsonl", text), expected);
    }
    for (bytes, parts) in [
        (&b"{\"a\": NaN}"[..], ["line 1", "JSON has no NaN, write null"]),
        (b"{}\r{\"a\": -Infinity}", ["line 2", "JSON has no Infinity"]),
        (b"{\"a\": 1,}", ["line 1", "not valid JSON"]),
        (b"{\n \"data\": [{}]\n}", ["line 1", "one JSON object a line"]),
        (b"{\"a\":1}\n{\"a\":1,\"a\":2}", ["line 2", "the key `a` stands twice"]),
        (b"[{\"a\":1,\"a\":2}]", ["record 1", "the key `a` stands twice"]),
    ] {
        let message = message("d.jsonl", bytes);
        for part in parts.iter().chain(&["d.jsonl"]) {
            assert!(message.contains(part), "{part:?} not in {message:?}");
        }
    }
}

#[test]
fn files_that_are_none_of_ours_are_called_by_their_name() {
    for (bytes, part) in [
        (&b"BZh91AY&SY"[..], "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"PK\x03\x04\x14\0", "zip archive or an Excel sheet"),
        (b"\xd0\xcf\x11\xe0\xa1", "Excel"),
        (b"ARROW1\0\0", "Arrow"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"a\0,\0b\0", "UTF-16"),
        (b"\0a\0,\0b", "UTF-16"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    ] {
        for name in ["d.csv", "d.jsonl"] {
            let message = message(name, bytes);
            assert!(message.contains(part) && message.contains(name), "{part:?}: {message:?}");
        }
    }
}

fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

#[test]
fn parquet_of_other_writers_is_read_or_named() {
    let records = |name: &str| {
        let mut all = Vec::new();
        for_each_record(fixture(name), |_, record| {
            all.push(Value::Object(record).to_string());
            Ok(())
        })?;
        Ok::<_, Error>(all)
    };
    let expected = records("rows.parquet").unwrap();
    assert!(expected[1].contains("\"completion\":\"7\"") && expected.len() == 13);
    // Bytes without the mark of text are text.
    assert_eq!(records("rows.binary.parquet").unwrap(), expected);
    for name in ["rows.encrypted.parquet", "rows.encrypted_columns.parquet"] {
        let message = records(name).unwrap_err().to_string();
        assert!(message.contains("encrypted Parquet") && message.contains(name), "{message}");
    }
}

#[test]
fn compression_is_told_by_the_first_bytes() {
    let text = b"{\"a\":1}\n{\"a\":2}\n";
    let gzip = |bytes: &[u8]| {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    };
    let expected = ["1 {\"a\":1}", "2 {\"a\":2}"];
    assert_eq!(shown("d.jsonl.gz", &gzip(text)), expected);
    // Members that follow each other are one file, as `cat a.gz b.gz` makes it.
    let twice = [gzip(&text[..8]), gzip(&text[8..])].concat();
    assert_eq!(shown("d.jsonl", &twice), expected);
    let zstd = zstd::encode_all(&text[..], 1).unwrap();
    assert_eq!(shown("no-ending", &zstd), expected);
    let csv = gzip(b"{a},b\n1,2\n");
    assert_eq!(shown("d.csv.gz", &csv), ["2 {\"{a}\":\"1\",\"b\":\"2\"}"]);
    for cut in [gzip(text), zstd] {
        let message = message("d.gz", &cut[..cut.len() - 6]);
        assert!(message.contains("d.gz"), "{message}");
    }
}

/// A table with a string, an optional number, and a list of structs, as data sets of chats have it.
fn parquet(rows: usize, per_group: usize) -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
    let schema = "message m { required binary text (UTF8); optional double price;
        optional group messages (LIST) { repeated group list { optional group element {
            optional binary role (UTF8); } } } }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let zstd = parquet::basic::Compression::ZSTD(Default::default());
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema.into(), properties.into()).unwrap();
    let all: Vec<usize> = (0..rows).collect();
    for part in all.chunks(per_group) {
        let mut group = writer.next_row_group().unwrap();
        let texts: Vec<ByteArray> =
            part.iter().map(|i| format!("row {i}").as_str().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        // Odd rows have no price.
        let prices: Vec<f64> =
            part.iter().filter(|i| *i % 2 == 0).map(|&i| i as f64 / 2.0).collect();
        let defined: Vec<i16> = part.iter().map(|i| 1 - (i % 2) as i16).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&prices, Some(&defined), None).unwrap();
        column.close().unwrap();
        // Two messages each.
        let roles: Vec<ByteArray> =
            part.iter().flat_map(|_| ["user".into(), "assistant".into()]).collect();
        let defined = vec![4; roles.len()];
        let repeated: Vec<i16> = part.iter().flat_map(|_| [0, 1]).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&roles, Some(&defined), Some(&repeated))
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn parquet_rows_become_records_and_damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // The name does not matter.
    let path = dir.path().join("data.bin");
    let bytes = parquet(1000, 300);
    std::fs::write(&path, &bytes).unwrap();
    let mut found = Vec::new();
    let n = for_each_record(&path, |row, record| {
        found.push((row, Value::Object(record).to_string()));
        Ok(())
    });
    assert_eq!(n.unwrap(), 1000);
    let roles = "[{\"role\":\"user\"},{\"role\":\"assistant\"}]";
    assert_eq!(found[2], (3, format!("{{\"text\":\"row 2\",\"price\":1.0,\"messages\":{roles}}}")));
    assert_eq!(
        found[999].1,
        format!("{{\"text\":\"row 999\",\"price\":null,\"messages\":{roles}}}")
    );
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let message = for_each_record(&path, |_, _| Ok(())).unwrap_err().to_string();
    assert!(message.contains("data.bin: footer: not valid Parquet"), "{message}");
    let mut damaged = bytes.clone();
    damaged[2000..2064].fill(0xff);
    std::fs::write(&path, damaged).unwrap();
    let message = for_each_record(&path, |_, _| Ok(())).unwrap_err().to_string();
    assert!(message.contains("data.bin: row "), "{message}");
    let message = message_of_bytes(&bytes);
    assert!(message.contains("Parquet"), "{message}");
}

fn message_of_bytes(bytes: &[u8]) -> String {
    message("pasted", bytes)
}

#[test]
fn a_line_without_end_is_an_error_before_memory_is_gone() {
    struct Endless;
    impl std::io::Read for Endless {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            to.fill(b'x');
            Ok(to.len())
        }
    }
    for name in ["d.jsonl", "d.csv"] {
        let error = for_each_record_in(name, BufReader::new(Endless), |_, _| Ok(()));
        let message = error.unwrap_err().to_string();
        assert!(message.contains("line 1: is longer than 64 MiB"), "{message}");
    }
}
