//! How a text is cut into words before byte pairs are merged: what `tokenizer.ggml.pre` says.
//!
//! **Source** `llama-vocab.cpp`: the names of each kind, and what it sets beside the patterns.
//! Texts are not normalized there: a Qwen2 from a GGUF file takes them as they are.

use serde_json::{Value, json};

/// A way to cut texts.
pub(super) struct PreTokenizer {
    /// llama.cpp's names of it, the one that is written first.
    pub(super) names: &'static [&'static str],
    /// The pattern whose matches are words; without one, GPT-2's.
    pub(super) pattern: Option<&'static str>,
    /// Each digit is a word.
    pub(super) digits: bool,
    /// Words that are in the vocabulary are taken whole.
    pub(super) ignore_merges: bool,
    /// Whether texts start with the first token where the metadata does not say.
    pub(super) add_bos: bool,
    /// Whether texts are cut by [`PLAIN`].
    plain: bool,
}

const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// How texts are cut where nothing is known of a vocabulary: one pattern after the other.
const PLAIN: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    "[0-9][0-9][0-9]",
];

/// GPT-2's words, and nothing else.
const GPT2: PreTokenizer = PreTokenizer {
    names: &[],
    pattern: None,
    digits: false,
    ignore_merges: false,
    add_bos: false,
    plain: false,
};

pub(super) const KINDS: [PreTokenizer; 6] = [
    PreTokenizer {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
        ],
        pattern: Some(LLAMA3),
        ignore_merges: true,
        add_bos: true,
        ..GPT2
    },
    PreTokenizer {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        digits: true,
        ..GPT2
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan"],
        pattern: Some(QWEN2),
        ..GPT2
    },
    PreTokenizer {
        names: &[
            "gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "exaone4", "mpt", "olmo", "jais",
            "trillion",
        ],
        ..GPT2
    },
    PreTokenizer { names: &["dbrx", "smaug-bpe"], pattern: Some(LLAMA3), ..GPT2 },
    PreTokenizer { names: &["default"], plain: true, ..GPT2 },
];

impl PreTokenizer {
    /// The kind under a name.
    pub(super) fn named(name: &str) -> Option<&'static PreTokenizer> {
        KINDS.iter().find(|kind| kind.names.contains(&name))
    }

    /// All names, for refusals.
    pub(super) fn works() -> String {
        KINDS.map(|kind| kind.names.join(", ")).join(", ")
    }

    /// The steps of a `tokenizer.json`.
    pub(super) fn json(&self) -> Value {
        let split = |pattern: &str| {
            let pattern = json!({"Regex": pattern});
            json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false})
        };
        let digits = json!({"type": "Digits", "individual_digits": true});
        let mut steps: Vec<Value> = self.digits.then_some(digits).into_iter().collect();
        steps.extend(self.pattern.map(split));
        if self.plain {
            steps.extend(PLAIN.map(split));
        }
        steps.push(byte_level(self.pattern.is_none() && !self.plain));
        json!({"type": "Sequence", "pretokenizers": steps})
    }

    /// The kind whose steps these are, of a `tokenizer.json`.
    pub(super) fn of(pre: &Value) -> Option<&'static PreTokenizer> {
        let one = [pre.clone()];
        let steps = pre["pretokenizers"].as_array().map_or(&one[..], Vec::as_slice);
        let digits = steps.iter().any(|s| s["type"] == "Digits" && s["individual_digits"] == true);
        let split = steps.iter().find(|step| step["type"] == "Split");
        let pattern = split.map(|step| step["pattern"]["Regex"].as_str().unwrap_or_default());
        let level = steps.iter().find(|step| step["type"] == "ByteLevel")?;
        let known = ["Digits", "Split", "ByteLevel"];
        let all_known = steps.iter().all(|s| known.iter().any(|name| s["type"] == *name));
        // GPT-2's words come from ByteLevel itself, those of the others from their Split.
        let words = level["use_regex"] == pattern.is_none();
        let plain = level["add_prefix_space"] != true && all_known && words;
        let same = |kind: &&PreTokenizer| {
            plain && !kind.plain && kind.digits == digits && kind.pattern == pattern
        };
        KINDS.iter().find(same)
    }
}

/// The step that cuts a text into bytes, and with `use_regex` into GPT-2's words first.
pub(super) fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}
