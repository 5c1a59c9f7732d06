//! The container: hostile headers, and files that Python would write the same way.

use wgpu_lora::format::{
    ByteSource, DType, FileSource, MemorySource, SafetensorsFile, SafetensorsWriter, TensorData,
    to_safetensors, write_safetensors,
};

use super::*;

fn parse(bytes: Vec<u8>) -> Result<SafetensorsFile> {
    SafetensorsFile::open(Box::new(MemorySource::new("hostile.safetensors", bytes)))
}

/// A file of this header and this many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

#[test]
fn lengths_that_cannot_be_true_are_refused() {
    assert_error(parse(vec![]), is_format, &["hostile.safetensors", "this has 0"]);
    assert_error(parse(vec![1, 2, 3]), is_format, &["this has 3"]);
    let mut huge = (1u64 << 60).to_le_bytes().to_vec();
    huge.extend([b'{'; 100]);
    assert_error(parse(huge), is_format, &["1152921504606846976 bytes", "100000000"]);
    assert_error(parse(u64::MAX.to_le_bytes().to_vec()), is_format, &["18446744073709551615"]);
    let mut cut = file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4);
    cut.truncate(30);
    assert_error(parse(cut), is_format, &["has 30 bytes", "truncated"]);
}

#[test]
fn truncated_data_says_both_sizes() {
    let header = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let whole = 8 + header.len() + 24;
    assert!(parse(file(header, 24)).is_ok());
    let sizes = [format!("should have {whole}"), format!("has {}", whole - 1)];
    assert_error(parse(file(header, 23)), is_format, &[&sizes[0], &sizes[1], "truncated"]);
    assert_error(parse(file(header, 25)), is_format, &["bytes follow"]);
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let cases = [
        ("[]", 0, "header"),
        ("{\"a\":", 0, "header"),
        ("\u{1F4A5}", 0, "header"),
        (r#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4, "`F31`"),
        (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "header"),
        (r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4, "header"),
        (r#"{"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}"#, 4, "header"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "tensor `a`"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "leaves a gap"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "[2] of F32"),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4000]}}"#, 4, "4000 bytes"),
        (
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
            0,
            "does not take the 0 bytes",
        ),
        (
            r#"{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#,
            4,
            "truncated",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#,
            6,
            "`b`: its bytes 2..6 should start at 4: it overlaps",
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            8,
            "listed twice",
        ),
        (r#"{"__metadata__":{"x":1}}"#, 0, "header"),
    ];
    for (header, data, words) in cases {
        assert_error(parse(file(header, data)), is_format, &[words, "hostile.safetensors"]);
    }
}

#[test]
fn odd_but_valid_headers_are_read() {
    let header = r#"{"__metadata__":null,"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F16","shape":[0,5],"data_offsets":[4,4]}}   "#;
    let f = parse(file(header, 4)).unwrap();
    assert_eq!(f.info("s").unwrap().elements(), 1);
    assert_eq!(f.read_f32("e", 0..0).unwrap(), [0.0; 0]);
    assert!(parse(file("{}", 0)).unwrap().tensors().is_empty());
}

#[test]
fn ranges_and_types_are_checked() {
    let i32s: Vec<u8> = [1i32, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
    let halves: Vec<u8> = [1.5f32, -0.0, 65504.0]
        .iter()
        .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
        .collect();
    let brains: Vec<u8> =
        [3e38f32, -1.0].iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
    let tensors = [
        TensorData { name: "i", dtype: DType::I32, shape: &[2], bytes: &i32s },
        TensorData { name: "h", dtype: DType::F16, shape: &[3], bytes: &halves },
        TensorData { name: "b", dtype: DType::BF16, shape: &[2, 1], bytes: &brains },
    ];
    let f = parse(to_safetensors(&tensors, &[("format", "pt")]).unwrap()).unwrap();
    assert_eq!(f.metadata()["format"], "pt");
    assert_bits(&f.read_f32("h", 0..3).unwrap(), &[1.5, -0.0, 65504.0], "f16");
    assert_bits(&f.read_f32("h", 1..2).unwrap(), &[-0.0], "f16 part");
    assert_eq!(f.read_f32("b", 0..2).unwrap()[1], -1.0);
    assert_error(f.read_f32("i", 0..2), is_unsupported, &["`i`", "I32", "BF16"]);
    assert_error(f.read_f32("h", 0..4), is_invalid, &["`h`", "6 bytes"]);
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake that must not panic")]
    let reversed = f.read_f32("h", 2..1);
    assert_error(reversed, is_invalid, &["`h`"]);
    assert_error(f.read_f32("h", 0..usize::MAX), is_invalid, &["`h`"]);
    assert_error(f.info("x"), is_missing, &["`x`", "hostile.safetensors", "3 others"]);
}

#[test]
fn writing_gives_the_bytes_of_the_python_package() {
    // A file that PEFT saved, taken apart and written again.
    let path = golden().join("lora/qv_r8/adapter_model.safetensors");
    let f = open(path.clone());
    let raw: Vec<_> = f.tensors().keys().map(|k| (k, u8s(&f, k))).collect();
    let tensors: Vec<_> = raw
        .iter()
        .rev()
        .map(|(name, bytes)| {
            let info = &f.tensors()[*name];
            TensorData { name, dtype: info.dtype, shape: &info.shape, bytes }
        })
        .collect();
    let written = to_safetensors(&tensors, &[("format", "pt")]).unwrap();
    let again = parse(written.clone()).unwrap();
    assert_eq!(again.tensors(), f.tensors());
    assert!(written == std::fs::read(&path).unwrap(), "other bytes");
}

#[test]
fn pieces_in_any_order_give_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.safetensors"), folder.path().join("two.safetensors"));
    let (a, b): (Vec<u8>, Vec<u8>) = ((0..24).collect(), vec![9; 4]);
    let data = [
        TensorData { name: "a", dtype: DType::F32, shape: &[2, 3], bytes: &a },
        TensorData { name: "b", dtype: DType::BF16, shape: &[2], bytes: &b },
    ];
    write_safetensors(&one, &data, &[]).unwrap();
    let shapes: [(&str, DType, &[usize]); 2] =
        [("b", DType::BF16, &[2]), ("a", DType::F32, &[2, 3])];
    let mut writer = SafetensorsWriter::create(&two, &shapes, &[]).unwrap();
    writer.write("a", 10, &a[10..]).unwrap();
    writer.write("b", 0, &b).unwrap();
    assert!(!two.exists(), "the name appears only at the end");
    assert_error(writer.write("a", 20, &a[..5]), is_invalid, &["24 bytes"]);
    assert_error(writer.write("c", 0, &[]), is_missing, &["`c`"]);
    writer.write("a", 0, &a[..10]).unwrap();
    writer.finish().unwrap();
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());

    let three = folder.path().join("three.safetensors");
    let mut writer = SafetensorsWriter::create(&three, &shapes, &[]).unwrap();
    writer.write("a", 0, &a).unwrap();
    assert_error(writer.finish(), is_invalid, &["`b`", "0 of its 4 bytes"]);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "the unfinished file is gone: {left:?}");
}

#[test]
fn writing_nonsense_is_refused() {
    let twice = TensorData { name: "a", dtype: DType::U8, shape: &[1], bytes: &[0] };
    assert_error(to_safetensors(&[twice, twice], &[]), is_invalid, &["`a`", "twice"]);
    let short = TensorData { name: "a", dtype: DType::F32, shape: &[2], bytes: &[0] };
    assert_error(to_safetensors(&[short], &[]), is_invalid, &["needs 8 bytes, not 1"]);
    let huge = TensorData { name: "a", dtype: DType::F32, shape: &[usize::MAX, 9], bytes: &[] };
    assert_error(to_safetensors(&[huge], &[]), is_invalid, &["too large"]);
    let nowhere = golden().join("no-such-folder/x.safetensors");
    assert_error(write_safetensors(nowhere, &[], &[]), is_io, &["no-such-folder"]);
}

#[test]
fn sources_refuse_reads_past_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes");
    std::fs::write(&path, [1, 2, 3, 4]).unwrap();
    let sources: [Box<dyn ByteSource>; 2] = [
        Box::new(FileSource::open(&path).unwrap()),
        Box::new(MemorySource::new("bytes", [1, 2, 3, 4])),
    ];
    for source in sources {
        let mut buf = [0; 2];
        source.read_at(2, &mut buf).unwrap();
        assert_eq!(buf, [3, 4]);
        assert_error(source.read_at(3, &mut buf), is_format, &["bytes", "ends at byte 4"]);
        assert_error(source.read_at(u64::MAX, &mut buf), is_format, &["ends at byte 4"]);
    }
    assert_error(FileSource::open(folder.path()), is_io, &[]);
    assert_error(FileSource::open(folder.path().join("none")), is_io, &["none"]);
}
