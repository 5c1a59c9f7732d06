//! File-system steps that a crash cannot tear: everything is written under a temporary name,
//! synced, and renamed; what is to be deleted is renamed first. A power cut or `kill -9` leaves the
//! old state, the new one, or leftovers whose names begin with [`TEMP`].

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How the names of unfinished files and folders begin.
pub const TEMP: &str = ".tmp-";

/// A file to be written: its name, without folders, and its content.
pub type NamedBytes = (String, Vec<u8>);

/// Makes the entries of a folder durable. Windows has no such call and needs none.
pub fn sync_dir(path: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io(path))?;
    }
    Ok(())
}

/// Creates a folder and its parents, durably.
pub fn create_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(Error::io(path))?;
    sync_dir(&parent(path)?)
}

/// Writes a file whole, or leaves the one that was there.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let temp = temporary(path, "write")?;
    if let Err(error) = write_synced(&temp, bytes) {
        // On a full disk the half-written file would keep the room that is missing.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    fs::rename(&temp, path).map_err(Error::io(path))?;
    sync_dir(&parent(path)?)
}

/// Writes a folder of files whole, or leaves the one that was there. (Where there was one, a crash
/// in the instant between two renames leaves neither until [`clean`] brings it back.)
///
/// **Errors** [`Error::Invalid`] for a file name with a folder in it, [`Error::Io`].
pub fn write_dir(path: &Path, files: &[NamedBytes]) -> Result<()> {
    let temp = temporary(path, "write")?;
    if temp.exists() {
        fs::remove_dir_all(&temp).map_err(Error::io(&temp))?;
    }
    fs::create_dir(&temp).map_err(Error::io(&temp))?;
    if let Err(error) = fill(&temp, files) {
        // On a full disk the half-written folder would keep the room that is missing.
        let _ = fs::remove_dir_all(&temp);
        return Err(error);
    }
    let old = temporary(path, "old")?;
    let replaces = path.exists();
    if replaces {
        move_away(path, &old)?;
    }
    fs::rename(&temp, path).map_err(Error::io(path))?;
    sync_dir(&parent(path)?)?;
    if replaces {
        fs::remove_dir_all(&old).map_err(Error::io(&old))?;
    }
    Ok(())
}

/// Writes and syncs files in a new folder.
fn fill(folder: &Path, files: &[NamedBytes]) -> Result<()> {
    for (name, bytes) in files {
        let plain = Path::new(name).file_name().is_some_and(|plain| plain == name.as_str());
        if !plain || name.starts_with(TEMP) {
            return Err(Error::invalid(name, "is not a plain file name"));
        }
        write_synced(&folder.join(name), bytes)?;
    }
    sync_dir(folder)
}

/// Deletes a folder; half-deleted it has a temporary name.
pub fn remove_dir(path: &Path) -> Result<()> {
    let old = temporary(path, "remove")?;
    move_away(path, &old)?;
    sync_dir(&parent(path)?)?;
    fs::remove_dir_all(&old).map_err(Error::io(&old))
}

/// Clears away the leftovers of a crash in a folder and returns their number: a folder that was
/// about to be replaced gets its name back, everything else is deleted. The caller must be the only
/// writer there.
pub fn clean(dir: &Path) -> Result<usize> {
    let mut leftovers = 0;
    for entry in entries(dir)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(TEMP) else { continue };
        leftovers += 1;
        match rest.strip_prefix("old-").map(|name| dir.join(name)) {
            Some(place) if !place.exists() => {
                fs::rename(&entry, &place).map_err(Error::io(&entry))?;
                sync_dir(dir)?;
            }
            _ => {
                let delete = if entry.is_dir() { fs::remove_dir_all } else { fs::remove_file };
                delete(&entry).map_err(Error::io(&entry))?;
            }
        }
    }
    Ok(leftovers)
}

/// The paths in a folder, sorted; none if the folder is missing.
pub fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io(dir))?,
    };
    let paths: std::io::Result<Vec<PathBuf>> = list.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(Error::io(dir))?;
    paths.sort();
    Ok(paths)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(Error::io(path))
}

fn move_away(path: &Path, old: &Path) -> Result<()> {
    if old.exists() {
        fs::remove_dir_all(old).map_err(Error::io(old))?;
    }
    fs::rename(path, old).map_err(Error::io(path))
}

/// `.tmp-write-step-5` beside `step-5`: same file system, so that renaming is atomic.
fn temporary(path: &Path, what: &str) -> Result<PathBuf> {
    match path.file_name() {
        Some(name) => Ok(path.with_file_name(format!("{TEMP}{what}-{}", name.to_string_lossy()))),
        None => Err(Error::invalid(path.display(), "is not the name of a file or folder")),
    }
}

fn parent(path: &Path) -> Result<PathBuf> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(PathBuf::from(".")),
        Some(parent) => Ok(parent.to_path_buf()),
        None => Err(Error::invalid(path.display(), "has no folder around it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let name = |p: PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
        entries(dir).unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn files_and_folders_are_replaced_whole_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.toml");
        write_file(&file, b"one").unwrap();
        write_file(&file, b"2").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2");
        let folder = dir.path().join("best");
        write_dir(&folder, &[("a".into(), vec![1]), ("b".into(), vec![2])]).unwrap();
        write_dir(&folder, &[("b".into(), vec![3])]).unwrap();
        assert_eq!(names(&folder), ["b"]);
        assert_eq!(fs::read(folder.join("b")).unwrap(), [3]);
        assert_eq!(names(dir.path()), ["best", "run.toml"]);
        remove_dir(&folder).unwrap();
        assert_eq!(names(dir.path()), ["run.toml"]);
    }

    #[test]
    fn leftovers_are_cleaned_and_do_not_disturb() {
        let dir = tempfile::tempdir().unwrap();
        for leftover in [".tmp-write-best", ".tmp-remove-best", ".tmp-old-best"] {
            fs::create_dir(dir.path().join(leftover)).unwrap();
            fs::write(dir.path().join(leftover).join("old"), b"x").unwrap();
        }
        let folder = dir.path().join("best");
        write_dir(&folder, &[("a".into(), vec![1])]).unwrap();
        write_dir(&folder, &[("a".into(), vec![1])]).unwrap();
        assert_eq!(names(&folder), ["a"]);
        fs::write(dir.path().join(".tmp-write-run.toml"), b"half").unwrap();
        fs::create_dir(dir.path().join(".tmp-write-step-4")).unwrap();
        assert_eq!(clean(dir.path()).unwrap(), 3);
        assert_eq!(names(dir.path()), ["best"]);
        assert_eq!(clean(&dir.path().join("missing")).unwrap(), 0);
        // Killed between the two renames: what was to be replaced comes back.
        fs::rename(&folder, dir.path().join(".tmp-old-best")).unwrap();
        fs::create_dir(dir.path().join(".tmp-write-best")).unwrap();
        assert_eq!(clean(dir.path()).unwrap(), 2);
        assert_eq!(names(&folder), ["a"]);
        // Killed behind them.
        fs::create_dir(dir.path().join(".tmp-old-best")).unwrap();
        assert_eq!(clean(dir.path()).unwrap(), 1);
        assert_eq!(names(dir.path()), ["best"]);
    }

    #[test]
    fn file_names_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../x", "a/b", "", "..", ".tmp-a"] {
            assert!(write_dir(&dir.path().join("d"), &[(name.into(), vec![])]).is_err(), "{name}");
        }
        assert!(!dir.path().join("d").exists());
    }
}
