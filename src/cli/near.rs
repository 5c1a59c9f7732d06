//! What a path that is not there may have meant.

use std::path::Path;

/// Two letters apart at most.
const FARTHEST: usize = 2;

/// The one entry of the same folder, of the same kind by its name's ending, that is spelled almost
/// like this path; `None` where several are, or none.
pub(super) fn near(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent()?;
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(here).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let of_kind = |other: &String| Path::new(other).extension() == path.extension();
    let mut found = names.filter(of_kind).filter(|other| {
        let apart = strsim::osa_distance(name, other);
        apart > 0 && apart <= FARTHEST && 2 * apart < name.chars().count()
    });
    let first = found.next()?;
    found.next().is_none().then(|| folder.join(first).display().to_string())
}

/// A question behind a message about a path that is not there.
pub(super) fn question(path: &Path) -> String {
    near(path).map_or(String::new(), |other| format!("; did you mean `{other}`?"))
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn only_what_is_spelled_alike_and_of_the_same_kind_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["train.jsonl", "train.csv", "test_a.json", "test_b.json", "ab"] {
            std::fs::write(at(name), "").unwrap();
        }
        let meant = |name: &str| near(&at(name));
        assert_eq!(meant("trian.jsonl"), Some(at("train.jsonl").display().to_string()));
        for name in ["train.parquet", "rows.jsonl", "test_c.json", "xy", "train.jsonl"] {
            assert_eq!(meant(name), None, "{name}");
        }
    }
}
