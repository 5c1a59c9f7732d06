//! `metrics.jsonl`: one JSON object a line, only ever appended to, cut back when a run is resumed.

use crate::{Error, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The open file.
#[derive(Debug)]
pub struct Metrics {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Metrics {
    /// Opens the file, creating it if needed, and cuts it to its first `keep` bytes: what it had
    /// when the checkpoint was written. If it has fewer (somebody changed it), its complete lines
    /// stay; see [`Metrics::bytes`].
    pub fn open(path: &Path, keep: u64) -> Result<Metrics> {
        let open = || -> std::io::Result<(File, u64)> {
            let mut options = OpenOptions::new();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).open(path)?;
            let keep = complete_lines(&mut file, keep)?;
            file.set_len(keep)?;
            file.seek(SeekFrom::Start(keep))?;
            Ok((file, keep))
        };
        let (file, bytes) = open().map_err(Error::io(path))?;
        Ok(Metrics { file, path: path.to_path_buf(), bytes })
    }

    /// Appends one line. NaN and infinite numbers become `null`.
    pub fn append(&mut self, record: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|e| Error::invalid("metrics", e))?;
        line.push(b'\n');
        // One call, so that a killed process leaves a whole line or none.
        self.file.write_all(&line).map_err(Error::io(&self.path))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Makes all lines durable and returns the file's length, to be kept in a checkpoint written
    /// next.
    pub fn sync(&mut self) -> Result<u64> {
        self.file.sync_data().map_err(Error::io(&self.path))?;
        Ok(self.bytes)
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The largest length up to `keep` at which a line ends (or the file begins).
fn complete_lines(file: &mut File, keep: u64) -> std::io::Result<u64> {
    let mut at = keep.min(file.metadata()?.len());
    let mut byte = [0];
    while at > 0 {
        file.seek(SeekFrom::Start(at - 1))?;
        file.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            break;
        }
        at -= 1;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_appended_and_cut_back_on_resume() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut m = Metrics::open(&path, 0).unwrap();
        m.append(&json!({"step": 1, "loss": 2.5})).unwrap();
        let kept = m.sync().unwrap();
        m.append(&json!({"step": 2, "loss": f64::NAN})).unwrap();
        drop(m);
        let whole = std::fs::read_to_string(&path).unwrap();
        assert_eq!(whole.lines().count(), 2);
        assert!(whole.contains("null"));
        let mut m = Metrics::open(&path, kept).unwrap();
        assert_eq!(m.bytes(), kept);
        m.append(&json!({"step": 2, "loss": 3})).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":3}\n");
    }

    #[test]
    fn a_torn_or_shortened_file_keeps_its_complete_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"a\":1}\n{\"b\"").unwrap();
        assert_eq!(Metrics::open(&path, 1000).unwrap().bytes(), 8);
        assert_eq!(std::fs::read(&path).unwrap(), b"{\"a\":1}\n");
        assert_eq!(Metrics::open(&path, 5).unwrap().bytes(), 0);
        assert!(Metrics::open(&dir.path().join("no/such/folder"), 0).is_err());
    }
}
