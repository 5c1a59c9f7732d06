//! Tables: the records of a file are those that pandas and pyarrow read, or the error names what is
//! wrong; prices are those of the conventions in docs/tables.md.

use serde_json::{Map, Value};
use wgpu_lora::data::for_each_record;
use wgpu_lora::pricer::dollars::dollars;

use super::case::{Case, Verdict};

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    if let Some(texts) = case.input["prices"].as_array() {
        return prices(texts, &case.expect["dollars"]);
    }
    let name = case.input["file"].as_str().unwrap_or_default();
    let path = case.path(name);
    let mut records = Vec::new();
    let read = for_each_record(&path, |_, record| {
        records.push(Value::Object(record));
        Ok(())
    });
    match (read, case.expect["named"].as_array(), case.expect["records"].as_array()) {
        (Err(why), Some(words), _) => {
            let why = why.to_string();
            let missing = |word: &&Value| !why.contains(word.as_str().unwrap_or_default());
            match words.iter().find(missing) {
                Some(word) => Verdict::Disagreed(format!("{word} is not in {why:?}")),
                None => Verdict::Agreed,
            }
        }
        (Ok(_), Some(words), _) => {
            Verdict::Disagreed(format!("read without a word of {words:?}: {records:?}"))
        }
        (Err(why), ..) => case.refused(&why),
        (Ok(_), _, expected) => same(&records, expected.map_or(&[][..], Vec::as_slice)),
    }
}

fn same(ours: &[Value], theirs: &[Value]) -> Verdict {
    if ours.len() != theirs.len() {
        return Verdict::Disagreed(format!(
            "{} records, the reference has {}",
            ours.len(),
            theirs.len()
        ));
    }
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let (a, b) = (without_nulls(a), without_nulls(b));
        if a != b {
            return Verdict::Disagreed(format!("record {i}: {a}, the reference has {b}"));
        }
    }
    Verdict::Agreed
}

/// The record without keys whose value is null: such a key counts as absent.
fn without_nulls(record: &Value) -> Value {
    let kept = record.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    Value::Object(Map::from_iter(kept.map(|(key, value)| (key.clone(), value.clone()))))
}

fn prices(texts: &[Value], expected: &Value) -> Verdict {
    for (i, text) in texts.iter().enumerate() {
        let text = text.as_str().unwrap_or_default();
        let (ours, theirs) = (dollars(text), expected[i].as_f64());
        if ours.clone().ok() != theirs {
            return Verdict::Disagreed(format!(
                "{text:?}: {ours:?}, the conventions say {theirs:?}"
            ));
        }
    }
    Verdict::Agreed
}
