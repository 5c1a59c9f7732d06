//! Tokenizers: ids with and without what the post-processor adds, and texts with and without
//! special tokens, as transformers' `AutoTokenizer` makes them of the same folder.

use serde_json::Value;
use wgpu_lora::Error;
use wgpu_lora::format::{Special, Tokenizer};

use super::case::{Case, Verdict};

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    match compare(case) {
        Ok(None) => Verdict::Agreed,
        Ok(Some(how)) => Verdict::Disagreed(how),
        Err(error @ (Error::Unsupported { .. } | Error::Format { .. })) => case.refused(&error),
        Err(other) => Verdict::Disagreed(format!("{other}")),
    }
}

fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect()
}

fn compare(case: &Case) -> Result<Option<String>, Error> {
    let t = Tokenizer::from_file(case.path(""))?;
    let expect = &case.expect;
    let texts = case.input.as_array().into_iter().flatten().filter_map(Value::as_str);
    let encoded = expect["encoded"].as_array().into_iter().flatten();
    for (text, row) in texts.zip(encoded) {
        for (special, key) in [(Special::With, "ids"), (Special::Without, "plain")] {
            let (got, right) = (t.encode(text, special)?, ids(&row[key]));
            if got != right {
                return Ok(Some(format!("{text:?}, special {special:?}: {got:?}, not {right:?}")));
            }
        }
    }
    for row in expect["decoded"].as_array().into_iter().flatten() {
        let ids = ids(&row["ids"]);
        for (special, key) in [(Special::With, "whole"), (Special::Without, "skipped")] {
            let got = t.decode(&ids, special)?;
            if row[key] != got.as_str() {
                return Ok(Some(format!(
                    "{ids:?}, special {special:?}: {got:?}, not {}",
                    row[key]
                )));
            }
        }
    }
    for (name, got) in [("bos", t.bos_id()), ("eos", t.eos_id()), ("pad", t.pad_id())] {
        let right = expect[name].as_u64().and_then(|id| u32::try_from(id).ok());
        if got != right {
            return Ok(Some(format!("{name}: {got:?}, not {right:?}")));
        }
    }
    Ok((expect["size"] != t.vocab_size())
        .then(|| format!("{} tokens, not {}", t.vocab_size(), expect["size"])))
}
