//! Shaders as they lie in a folder, so that an edit costs a start of the program and no build: the
//! feature `hot-shaders`, for who writes a kernel. A process reads each file once.

use std::collections::HashMap;
use std::path::PathBuf;
#[cfg(feature = "hot-shaders")]
use std::sync::LazyLock;
use std::sync::Mutex;

use super::lock::lock;
use crate::{Error, Result};

/// A folder laid out as `shaders`, and what was read of it.
struct Folder {
    path: PathBuf,
    read: Mutex<HashMap<&'static str, &'static str>>,
}

impl Folder {
    fn new(path: PathBuf) -> Folder {
        Folder { path, read: Mutex::default() }
    }

    /// The text of a file. **Errors** [`Error::Io`] with its path.
    fn read(&self, file: &'static str) -> Result<&'static str> {
        let mut read = lock(&self.read);
        if let Some(text) = read.get(file) {
            return Ok(text);
        }
        let path = self.path.join(file);
        let text = std::fs::read_to_string(&path).map_err(Error::io(path))?;
        // Sources live as long as the program, as those that are built in.
        Ok(read.entry(file).or_insert(text.leak()))
    }
}

/// The folder that `WGPU_LORA_SHADERS` names.
#[cfg(feature = "hot-shaders")]
static FOLDER: LazyLock<Option<Folder>> = LazyLock::new(|| {
    let path = std::env::var_os("WGPU_LORA_SHADERS").filter(|path| !path.is_empty());
    path.map(|path| Folder::new(path.into()))
});

/// Whether shaders are read from a folder.
#[cfg(feature = "hot-shaders")]
pub(super) fn in_use() -> bool {
    FOLDER.is_some()
}

/// The text of a file, if there is a folder to read it from.
#[cfg(feature = "hot-shaders")]
pub(super) fn read(file: &'static str) -> Option<Result<&'static str>> {
    FOLDER.as_ref().map(|folder| folder.read(file))
}

/// **Errors** [`Error::Io`] naming the file if there is a folder and it cannot be read from there.
#[cfg(feature = "hot-shaders")]
pub(super) fn check(file: &'static str) -> Result<()> {
    read(file).transpose().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().into());
        let why = folder.read("norm/rms_norm_fwd.wgsl").unwrap_err().to_string();
        assert!(why.contains("rms_norm_fwd.wgsl"), "{why}");
        std::fs::create_dir(dir.path().join("norm")).unwrap();
        let write = |text| std::fs::write(dir.path().join("norm/rms_norm_fwd.wgsl"), text).unwrap();
        write("first");
        assert_eq!(folder.read("norm/rms_norm_fwd.wgsl").unwrap(), "first");
        write("second");
        assert_eq!(folder.read("norm/rms_norm_fwd.wgsl").unwrap(), "first");
    }
}
