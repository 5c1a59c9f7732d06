//! Words that are written once, in order, and read by place: in memory while they are few, beyond
//! that in a temporary file without a name, which goes with the process however it ends. The
//! browser has no files and keeps them all.

use crate::Result;
use std::path::PathBuf;

/// Words kept in memory before anything is written to a file: 64 MiB.
#[cfg(not(target_arch = "wasm32"))]
const MOST_IN_MEMORY: usize = 16 << 20;

/// Words written at once from then on: 1 MiB.
#[cfg(not(target_arch = "wasm32"))]
const A_WRITE: usize = 256 << 10;

/// Words by place.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Those behind the ones in the file.
    tail: Vec<u32>,
    /// Words in the file.
    written: u64,
    #[cfg(not(target_arch = "wasm32"))]
    file: Option<std::sync::Mutex<std::fs::File>>,
}

impl Store {
    /// Adds words and returns the place of the first; a file, if it takes one, is made in `folder`
    /// (else where the system keeps temporary files).
    ///
    /// **Errors** [`crate::Error::Io`] with the folder, where it is full.
    pub(super) fn push(&mut self, words: &[u32], folder: &Option<PathBuf>) -> Result<u64> {
        let at = self.written + self.tail.len() as u64;
        self.tail.extend_from_slice(words);
        self.spill(folder)?;
        Ok(at)
    }

    #[cfg(target_arch = "wasm32")]
    fn spill(&mut self, _: &Option<PathBuf>) -> Result<()> {
        Ok(())
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn spill(&mut self, folder: &Option<PathBuf>) -> Result<()> {
        use std::io::Write;
        let most = if self.file.is_some() { A_WRITE } else { MOST_IN_MEMORY };
        if self.tail.len() < most {
            return Ok(());
        }
        let folder = folder.clone().unwrap_or_else(std::env::temp_dir);
        let failed = |e| crate::Error::io(folder.join("(temporary file of token ids)"))(e);
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(&folder).map_err(failed)?.into());
        }
        if let Some(file) = &mut self.file {
            let file = file.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            file.write_all(bytemuck::cast_slice(&self.tail)).map_err(failed)?;
        }
        self.written += self.tail.len() as u64;
        // The room of the first words is given back.
        self.tail = Vec::with_capacity(2 * A_WRITE);
        Ok(())
    }

    /// Reads `count` words that were pushed together. **Errors** [`crate::Error::Io`].
    pub(super) fn read(&self, at: u64, count: usize) -> Result<Vec<u32>> {
        if let Some(from) = at.checked_sub(self.written) {
            let words =
                usize::try_from(from).ok().and_then(|from| self.tail.get(from..)?.get(..count));
            return Ok(words.map(<[u32]>::to_vec).unwrap_or_default());
        }
        self.read_file(at, count)
    }

    #[cfg(target_arch = "wasm32")]
    fn read_file(&self, _: u64, _: usize) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn read_file(&self, at: u64, count: usize) -> Result<Vec<u32>> {
        use std::io::{Read, Seek, SeekFrom};
        let mut words = vec![0; count];
        if let Some(file) = &self.file {
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let read = file.seek(SeekFrom::Start(4 * at));
            read.and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut words)))
                .map_err(crate::Error::io("(temporary file of token ids)"))?;
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_from_file_and_memory() {
        let folder = tempfile::tempdir().unwrap();
        let place = Some(folder.path().to_owned());
        let mut store = Store::default();
        // 24 MiWords in pieces of odd lengths: the first 16 go to the file at once, the others by
        // the MiB.
        let piece = |i: u32| -> Vec<u32> { (0..90_001 + i).map(|k| i * 7919 + k).collect() };
        let places: Vec<u64> = (0..260).map(|i| store.push(&piece(i), &place).unwrap()).collect();
        assert!(store.written > MOST_IN_MEMORY as u64);
        assert!(store.tail.len() < A_WRITE && !store.tail.is_empty());
        for i in [259, 0, 130, 258, 1, 200, 257] {
            let (at, words) = (places[i as usize], piece(i));
            assert!(store.read(at, words.len()).unwrap() == words, "{i}");
        }
        // It has no name.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let none = Some(folder.path().join("none"));
        let mut store = Store::default();
        let why = store.push(&vec![0; MOST_IN_MEMORY], &none).unwrap_err().to_string();
        assert!(why.contains("none") && why.contains("temporary file"), "{why}");
    }
}
