//! One error type: every message says what is wrong, where, and what to do next. Settings stand in
//! messages as `‹max_length›`, or with a value as `‹loss = all›`; [`spelled`] gives them the
//! spelling of whoever reads.

use std::path::PathBuf;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, with the paths, names and numbers a bug report needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor does not have the shape an operation or a model needs.
    #[error("{op}: tensor `{tensor}` has shape {got}, expected {expected}")]
    Shape {
        /// The operation or file that looked at it.
        op: String,
        /// The tensor's name.
        tensor: String,
        /// The shape that was needed.
        expected: String,
        /// The shape that was found.
        got: String,
    },
    /// A checkpoint or adapter lacks a tensor.
    #[error("{file}: tensor `{name}` is missing{hint}")]
    MissingTensor {
        /// The tensor's name.
        name: String,
        /// The file or folder that should hold it.
        file: String,
        /// What to do, starting with a separator, or empty.
        hint: String,
    },
    /// A file's content is not what its format says.
    #[error("{path}: {at}: {why}")]
    Format {
        /// The file.
        path: String,
        /// Where in it (a byte offset, a line, a key).
        at: String,
        /// What is wrong and what was expected.
        why: String,
    },
    /// Something valid that this program does not do.
    #[error("{what} is not supported: {hint}")]
    Unsupported {
        /// The thing that was asked for.
        what: String,
        /// What works instead.
        hint: String,
    },
    /// A setting whose value makes no sense.
    #[error("{what}: {why}")]
    Invalid {
        /// The setting or argument.
        what: String,
        /// Why its value cannot be used, and which could.
        why: String,
    },
    /// No graphics adapter answers.
    #[error("no usable graphics adapter: {why}. {hint}")]
    NoAdapter {
        /// What was looked for and what was found.
        why: String,
        /// How to get one.
        hint: String,
    },
    /// The device, a limit or the host has too little memory.
    #[error(
        "{what} needs {needed_bytes} bytes, the limit is {limit_bytes} bytes ({} too many). {hint}",
        needed_bytes.saturating_sub(*limit_bytes)
    )]
    OutOfMemory {
        /// What was to be allocated.
        what: String,
        /// How much it needs.
        needed_bytes: u64,
        /// How much there is.
        limit_bytes: u64,
        /// Which settings would fit.
        hint: String,
    },
    /// The graphics driver reported an error.
    #[error("graphics device failed during {during}: {why}")]
    Device {
        /// What ran.
        during: String,
        /// The driver's words.
        why: String,
    },
    /// The driver has given the device up: everything on it is gone, and only a new one helps.
    #[error("the graphics device was lost during {during}: {why}")]
    DeviceLost {
        /// What ran.
        during: String,
        /// The driver's words.
        why: String,
    },
    /// A loss or gradient is NaN or infinite.
    #[error(
        "step {step}: {what} is not finite (rows {rows}). Lower ‹learning_rate›, set ‹max_grad_norm›, or look at these rows"
    )]
    NonFinite {
        /// The optimizer step, from 1.
        step: usize,
        /// Loss or gradient norm.
        what: String,
        /// The rows of the data set in that window.
        rows: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {}", in_words(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// What the system says, without the number of what has a name.
fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "No such file or folder".into(),
        std::io::ErrorKind::PermissionDenied => "Permission denied; check who owns it".into(),
        _ => error.to_string(),
    }
}

impl Error {
    /// The variant's name, for programs: `NoAdapter`, `OutOfMemory`, `Format`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Shape { .. } => "Shape",
            Error::MissingTensor { .. } => "MissingTensor",
            Error::Format { .. } => "Format",
            Error::Unsupported { .. } => "Unsupported",
            Error::Invalid { .. } => "Invalid",
            Error::NoAdapter { .. } => "NoAdapter",
            Error::OutOfMemory { .. } => "OutOfMemory",
            Error::Device { .. } => "Device",
            Error::DeviceLost { .. } => "DeviceLost",
            Error::NonFinite { .. } => "NonFinite",
            Error::Io { .. } => "Io",
        }
    }

    /// Wraps an I/O error with its path, for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// A [`Error::Format`] from anything printable.
    pub fn format(path: impl ToString, at: impl ToString, why: impl ToString) -> Error {
        let (at, why) = (brief(at.to_string()), brief(why.to_string()));
        Error::Format { path: path.to_string(), at, why }
    }

    /// An [`Error::Invalid`] from anything printable.
    pub fn invalid(what: impl ToString, why: impl ToString) -> Error {
        Error::Invalid { what: what.to_string(), why: why.to_string() }
    }
}

/// A message in which each setting is spelled as `spell` does it, of name and value; where that is
/// `None` it stays as it stands.
///
/// ```
/// let plain = |name: &str, value: Option<&str>| Some(format!("{name} {}", value?));
/// assert_eq!(wgpu_lora::error::spelled("give ‹loss = all›", plain), "give loss all");
/// ```
pub fn spelled(text: &str, spell: impl Fn(&str, Option<&str>) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, from)) = rest.split_once('‹')
        && let Some((setting, after)) = from.split_once('›')
    {
        let (name, value) = match setting.split_once(" = ") {
            Some((name, value)) => (name, Some(value)),
            None => (setting, None),
        };
        let spelling = spell(name, value).unwrap_or_else(|| format!("‹{setting}›"));
        out.push_str(before);
        out.push_str(&spelling);
        rest = after;
    }
    out + rest
}

/// The beginning and the end of a text that is too long for a message: names in damaged files have
/// any length.
pub(crate) fn brief(text: String) -> String {
    const MOST: usize = 300;
    if text.len() <= MOST {
        return text;
    }
    let head: String = text.chars().take(MOST / 2).collect();
    let last: Vec<char> = text.chars().rev().take(MOST / 4).collect();
    format!("{head} … {}", last.into_iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_spelled_and_other_texts_stay() {
        let spell = |name: &str, value: Option<&str>| {
            (name != "x").then(|| format!("{name}:{}", value.unwrap_or("-")))
        };
        let text = "‹a› and ‹b = c=d›, ‹x›, ‹y";
        assert_eq!(spelled(text, spell), "a:- and b:c=d, ‹x›, ‹y");
    }

    #[test]
    fn a_lost_device_is_a_kind_of_its_own_whatever_a_driver_says() {
        let (during, why) = ("load".to_owned(), "device lost its way".to_owned());
        assert_eq!(Error::Device { during: during.clone(), why: why.clone() }.kind(), "Device");
        assert_eq!(Error::DeviceLost { during, why }.kind(), "DeviceLost");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(brief("short".into()), "short");
        let cut = brief("é".repeat(1000));
        assert_eq!(cut.chars().count(), 150 + 3 + 75);
    }
}
