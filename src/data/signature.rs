//! Files that are none of ours, told by their first bytes, so that a message can call them by their
//! name.

/// What a file is, and what to do with it.
pub(super) fn named(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const DECOMPRESS: &str = "decompress it; gzip and zstd are read as they are";
    const CONVERT: &str = "convert it to JSONL, CSV or Parquet";
    const UTF8: &str = "save the file as UTF-8";
    const ALL: [(&[u8], &str, &str); 16] = [
        (b"\xff\xfe", "UTF-16", UTF8),
        (b"\xfe\xff", "UTF-16", UTF8),
        (b"BZh", "compressed with bzip2", DECOMPRESS),
        (b"\xfd7zXZ\0", "compressed with xz", DECOMPRESS),
        (b"\x04\x22\x4d\x18", "compressed with lz4", DECOMPRESS),
        (b"\xff\x06\0\0sNaPpY", "compressed with snappy", DECOMPRESS),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "take the file out of it"),
        (
            b"PK\x03\x04",
            "a zip archive or an Excel sheet",
            "take the file out of it, or save the sheet as CSV",
        ),
        (b"\xd0\xcf\x11\xe0", "an Excel sheet", "save it as CSV"),
        (b"ARROW1", "an Arrow file", CONVERT),
        (b"FEA1", "a Feather file", CONVERT),
        (b"ORC", "an ORC file", CONVERT),
        (b"Obj\x01", "an Avro file", CONVERT),
        (b"SQLite format 3\0", "a SQLite database", CONVERT),
        (b"\x89HDF", "an HDF5 file", CONVERT),
        (
            b"version https://git-lfs",
            "a pointer of Git LFS, not the file itself",
            "fetch it with `git lfs pull`",
        ),
    ];
    if let Some((_, what, hint)) = ALL.into_iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Some((what, hint));
    }
    // A letter and a zero: UTF-16 without its mark.
    let zero = |at: usize| head.get(at).map(|&byte| byte == 0);
    (zero(0)? != zero(1)?).then_some(("UTF-16", UTF8))
}
