//! A shader's file and its text: the one place where this is looked up. In the browser it has no
//! comments, which a visitor would wait for; its lines stay where they are.

/// A file of `shaders`.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its path in `shaders`: `linear/linear_fwd.wgsl`.
    pub file: &'static str,
    built_in: &'static str,
}

impl Source {
    /// A file and the text that it had when the program was built.
    pub const fn new(file: &'static str, built_in: &'static str) -> Source {
        Source { file, built_in }
    }

    /// Its text: as it was built in or, with the feature `hot-shaders`, as it lies in the folder
    /// that `WGPU_LORA_SHADERS` names.
    pub fn text(&self) -> &'static str {
        #[cfg(feature = "hot-shaders")]
        if let Some(Ok(text)) = super::hot::read(self.file) {
            return text;
        }
        self.built_in
    }
}

/// `text` without its comments, in the first bytes of the answer, and how many these are. What the
/// composer reads stays: `// roles: …` and `// uses: …`.
#[cfg(any(target_arch = "wasm32", test))]
pub(crate) const fn without_comments<const N: usize>(text: &str) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let (mut out, mut len, mut i) = ([0; N], 0, 0);
    while i < text.len() {
        let comment = begins(text, i, b"//");
        if comment && !begins(text, i, b"// roles:") && !begins(text, i, b"// uses:") {
            while len > 0 && out[len - 1] == b' ' {
                len -= 1;
            }
            while i < text.len() && text[i] != b'\n' {
                i += 1;
            }
        } else {
            // A comment that stays is whole.
            let end = if comment { line_end(text, i) } else { i + 1 };
            while i < end {
                out[len] = text[i];
                (len, i) = (len + 1, i + 1);
            }
        }
    }
    (out, len)
}

#[cfg(any(target_arch = "wasm32", test))]
const fn begins(text: &[u8], at: usize, with: &[u8]) -> bool {
    let mut i = 0;
    while i < with.len() {
        if at + i >= text.len() || text[at + i] != with[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(any(target_arch = "wasm32", test))]
const fn line_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && text[at] != b'\n' {
        at += 1;
    }
    at
}

/// The text of the file `$path` in `shaders`.
#[cfg(not(target_arch = "wasm32"))]
macro_rules! built_in {
    ($path:expr) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path))
    };
}

/// The text of the file `$path` in `shaders`, without comments.
#[cfg(target_arch = "wasm32")]
macro_rules! built_in {
    ($path:expr) => {
        const {
            use $crate::gpu::without_comments;
            const TEXT: &str =
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path));
            const ALL: ([u8; TEXT.len()], usize) = without_comments(TEXT);
            const KEPT: [u8; ALL.1] = *ALL.0.first_chunk().expect("no longer than the file");
            match std::str::from_utf8(&KEPT) {
                Ok(text) => text,
                Err(_) => panic!("only comments are more than ASCII"),
            }
        }
    };
}

/// The [`Source`] of the file `$path` in `shaders`.
macro_rules! shader {
    ($path:expr) => {
        $crate::gpu::Source::new($path, $crate::gpu::built_in!($path))
    };
}

pub(crate) use {built_in, shader};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_lines_and_what_is_read_stay() {
        const TEXT: &str =
            "// y = x²\n// roles: a, b   uses: c\nlet a = b / c;  // half\n    // so\n}";
        const ALL: ([u8; TEXT.len()], usize) = without_comments(TEXT);
        let kept = std::str::from_utf8(&ALL.0[..ALL.1]).unwrap();
        assert_eq!(kept, "\n// roles: a, b   uses: c\nlet a = b / c;\n\n}");
    }
}
