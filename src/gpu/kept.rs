//! Files that the program keeps for itself between runs, in a folder of the user's cache: whole, or
//! not there.

use std::io::Write;
use std::path::Path;
use std::{fs, io};

use crate::random::Fnv;

/// What a file starts with: this, and a checksum of the rest.
const MAGIC: &[u8; 8] = b"wgpulora";

/// A name for what belongs to these words alone.
pub(super) fn key(words: &[&str]) -> String {
    let hash = words.iter().fold(Fnv::default(), |hash, word| hash.with(word.as_bytes()));
    format!("{:016x}", hash.finish())
}

/// The data of a file, if it is there and whole.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    unpack(&fs::read(path).ok()?)
}

/// Writes a file: whole, under a temporary name, then renamed.
pub(super) fn write(path: &Path, data: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.partial", std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(&pack(data)))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn pack(data: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &Fnv::of(data).to_le_bytes(), data].concat()
}

fn unpack(file: &[u8]) -> Option<Vec<u8>> {
    let (sum, data) = file.strip_prefix(MAGIC)?.split_at_checked(8)?;
    (sum == Fnv::of(data).to_le_bytes()).then(|| data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_none() {
        let file = pack(&[1, 2, 3]);
        assert_eq!(unpack(&file), Some(vec![1, 2, 3]));
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 4;
            assert_eq!(unpack(&damaged), None, "byte {at}");
            assert_eq!(unpack(&file[..at]), None, "cut at {at}");
        }
    }
}
