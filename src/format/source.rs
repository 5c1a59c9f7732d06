//! Where bytes come from: a file or memory, read by position.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// Something with a length that can be read at any position. Reads are synchronous: on the web a
/// worker gives them.
pub trait ByteSource: Send + Sync {
    /// What error messages call it: a path or an address.
    fn name(&self) -> &str;

    /// Bytes in all.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// **Errors** [`Error::Format`] if the source ends before, [`Error::Io`] if reading fails.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
}

/// The error of a read past the end.
pub(super) fn past_end(name: &str, offset: u64, wanted: usize, len: u64) -> Error {
    Error::format(
        name,
        format!("byte {offset}"),
        format!(
            "the file ends at byte {len}, but {wanted} more bytes are needed here; download it again"
        ),
    )
}

/// A file on disk.
#[derive(Debug)]
pub struct FileSource {
    name: String,
    path: PathBuf,
    len: u64,
    /// Seeking and reading is one step for the readers of other threads.
    file: Mutex<File>,
}

impl FileSource {
    /// Opens a file for reading.
    ///
    /// **Errors** [`Error::Io`] if it cannot be opened or is a folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = File::open(&path).map_err(Error::io(&path))?;
        let metadata = file.metadata().map_err(Error::io(&path))?;
        if metadata.is_dir() {
            return Err(Error::io(&path)(std::io::ErrorKind::IsADirectory.into()));
        }
        let (name, len) = (path.display().to_string(), metadata.len());
        Ok(Self { name, path, len, file: Mutex::new(file) })
    }
}

impl ByteSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(past_end(&self.name, offset, buf.len(), self.len));
        }
        // A panic of another reader leaves nothing half done here: the position is set anew each
        // time.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset)).map_err(Error::io(&self.path))?;
        file.read_exact(buf).map_err(Error::io(&self.path))
    }
}

/// Bytes in memory.
#[derive(Clone, Debug)]
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
}

impl MemorySource {
    /// Names some bytes; error messages use the name.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl ByteSource for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset).ok();
        let part = from.and_then(|from| self.bytes.get(from..from.checked_add(buf.len())?));
        let part = part.ok_or_else(|| past_end(&self.name, offset, buf.len(), self.len()))?;
        buf.copy_from_slice(part);
        Ok(())
    }
}
