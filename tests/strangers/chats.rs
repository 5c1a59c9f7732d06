//! chats: rows of every kind, their ids and targets.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use wgpu_lora::data::{Dataset, DatasetOptions, LossOn};
use wgpu_lora::format::{ModelFiles, Tokenizer};

use super::case::{Case, Verdict};

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    let made = rows(case);
    let expected = case.expect["rows"].as_array().cloned().unwrap_or_default();
    match made {
        // Where the template itself says no, both do.
        Err(_) if case.expect["error"].is_string() => Verdict::Agreed,
        Err(why) => case.refused(&why),
        Ok(rows) if rows == expected => Verdict::Agreed,
        Ok(rows) => {
            let differs = rows.iter().zip(&expected).position(|(a, b)| a != b);
            let at = differs.unwrap_or(rows.len().min(expected.len()));
            Verdict::Disagreed(format!(
                "{} rows, expected {}; row {at}: {}, expected {}",
                rows.len(),
                expected.len(),
                rows.get(at).unwrap_or(&Value::Null),
                expected.get(at).unwrap_or(&Value::Null)
            ))
        }
    }
}

fn rows(case: &Case) -> Result<Vec<Value>, String> {
    let said = |e: wgpu_lora::Error| e.to_string();
    let tokenizer = match case.input["tokenizer"].as_str() {
        Some(path) => real(Path::new(path)),
        None => Tokenizer::from_file(case.path("")).map(Rc::new),
    };
    let tokenizer = tokenizer.map_err(said)?;
    let loss = if case.input["loss"] == "all" { LossOn::All } else { LossOn::Completion };
    let max_length = case.input["max_length"].as_u64().unwrap_or_default() as usize;
    let options = DatasetOptions { max_length, loss, ..DatasetOptions::default() };
    let data = Dataset::open(&[case.path("rows.jsonl")], &*tokenizer, &options).map_err(said)?;
    let row = |row: wgpu_lora::Result<wgpu_lora::data::TokenizedRow>| {
        let row = row.map_err(said)?;
        Ok(serde_json::json!({"ids": row.ids, "spans": row.spans}))
    };
    data.rows().map(row).collect()
}

thread_local! {
    static LAST: RefCell<Option<(PathBuf, Rc<Tokenizer>)>> = const { RefCell::new(None) };
}

/// The tokenizer of a real model, which is large and lies elsewhere: a folder or a GGUF file. Cases
/// of one stand together.
fn real(path: &Path) -> wgpu_lora::Result<Rc<Tokenizer>> {
    let last = LAST.take().filter(|(of, _)| of == path);
    let tokenizer = match last {
        Some((_, tokenizer)) => tokenizer,
        None if path.is_file() => Rc::new(ModelFiles::open(path)?.tokenizer()?),
        None => Rc::new(Tokenizer::from_file(path)?),
    };
    LAST.set(Some((path.to_owned(), tokenizer.clone())));
    Ok(tokenizer)
}
