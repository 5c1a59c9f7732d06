//! chats: rows of every kind, their ids and targets.

use std::path::Path;

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
    // The case's own, or that of a real model, which lies elsewhere.
    let tokenizer = match case.input["tokenizer"].as_str().map(Path::new) {
        Some(file) if file.is_file() => ModelFiles::open(file).and_then(|files| files.tokenizer()),
        Some(folder) => Tokenizer::from_file(folder),
        None => Tokenizer::from_file(case.path("")),
    };
    let tokenizer = tokenizer.map_err(said)?;
    let loss = if case.input["loss"] == "all" { LossOn::All } else { LossOn::Completion };
    let max_length = case.input["max_length"].as_u64().unwrap_or_default() as usize;
    let options = DatasetOptions { max_length, loss, ..DatasetOptions::default() };
    let data = Dataset::open(&[case.path("rows.jsonl")], &tokenizer, &options).map_err(said)?;
    let row = |row: wgpu_lora::Result<wgpu_lora::data::TokenizedRow>| {
        let row = row.map_err(said)?;
        Ok(serde_json::json!({"ids": row.ids, "spans": row.spans}))
    };
    data.rows().map(row).collect()
}
