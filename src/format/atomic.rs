//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes a file under a temporary name in the same folder, syncs it to disk and renames it, so
/// that a crash or a full disk leaves the old file or none, never half a file.
///
/// **Errors** what `fill` returns, or [`Error::Io`]; the temporary file is removed then.
pub fn write_atomic(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let mut file = PendingFile::create(path)?;
    fill(file.file())?;
    file.commit()
}

/// A file under its temporary name; dropped without [`PendingFile::commit`], it is removed.
#[derive(Debug)]
pub(crate) struct PendingFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    done: bool,
}

impl PendingFile {
    /// Creates `.<name>.partial` beside `path`.
    pub(crate) fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let name = path.file_name().ok_or_else(|| {
            Error::invalid(format!("file name `{}`", path.display()), "names no file to write")
        })?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".partial");
        let temporary = path.with_file_name(hidden);
        // Reading is for those who look at what they have written before they commit it.
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&temporary).map_err(Error::io(&temporary))?;
        Ok(Self { path, temporary, file, done: false })
    }

    /// The open temporary file.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the file, without renaming it yet.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.temporary))
    }

    /// Syncs and renames.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.sync()?;
        fs::rename(&self.temporary, &self.path).map_err(Error::io(&self.path))?;
        self.done = true;
        // The new name itself lives in the folder; systems on which a folder cannot be opened do
        // without.
        #[cfg(unix)]
        if let Some(folder) = self.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder))?;
        }
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.done {
            // Nothing useful can be said here if the half-written file cannot be removed either.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
