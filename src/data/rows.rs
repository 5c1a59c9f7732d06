//! From a record to what is trained on: which keys make which kind of row.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::record_json;
use super::records::Record;
use crate::{Error, Result};

/// One row as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// `{"prompt", "completion"}`: the loss is on the completion (unless [`super::LossOn::All`]).
    PromptCompletion {
        /// What the model is given.
        prompt: String,
        /// What it shall answer; joined to the prompt without a separator.
        completion: String,
    },
    /// `{"text"}`: the loss is on everything.
    Text(String),
    /// `{"messages"}`: objects with `role` and `content`; the loss is on what the assistant says.
    Messages(Vec<Value>),
}

/// The kinds of rows: the keys that each needs, then those that it may have.
const KINDS: [(&[&str], &[&str]); 4] = [
    (&["prompt", "completion"], &[]),
    (&["text"], &[]),
    (&["instruction", "response"], &["input"]),
    (&["messages"], &[]),
];

/// Other names of keys, in data sets that are about: Alpaca's answer, ShareGPT's messages.
const ALIASES: [(&str, &str); 2] = [("response", "output"), ("messages", "conversations")];

const EXPECTED: &str = "expected {\"prompt\": \"…\", \"completion\": \"…\"}, {\"text\": \"…\"}, \
                        {\"instruction\": \"…\", \"response\": \"…\"} or {\"messages\": […]}; other names can \
                        be mapped (--map text=review)";

/// Which of a file's columns stand for ours: `text=review` reads `text` from the column `review`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMap(BTreeMap<String, String>);

impl ColumnMap {
    /// From `ours=theirs`, one or several with commas in each text.
    ///
    /// **Errors** [`Error::Invalid`] for something else, a key that no row has, one given twice, or keys
    /// that no kind of row has together.
    pub fn new<S: AsRef<str>>(pairs: impl IntoIterator<Item = S>) -> Result<ColumnMap> {
        let bad = |why: String| Error::invalid("map", why);
        let mut map = BTreeMap::new();
        for text in pairs {
            for pair in text.as_ref().split(',').filter(|pair| !pair.trim().is_empty()) {
                let Some((ours, theirs)) = pair.split_once('=') else {
                    return Err(bad(format!("`{pair}` is not of the form text=review")));
                };
                let (ours, theirs) = (ours.trim().to_owned(), theirs.trim().to_owned());
                if !KINDS.iter().any(|(needed, may)| needed.iter().chain(*may).any(|k| *k == ours))
                {
                    return Err(bad(format!("`{ours}` is no key of a row; {EXPECTED}")));
                }
                if map.insert(ours.clone(), theirs).is_some() {
                    return Err(bad(format!("`{ours}` is given twice")));
                }
            }
        }
        let map = ColumnMap(map);
        if map.kinds().next().is_none() {
            let keys = Vec::from_iter(map.0.keys().map(String::as_str)).join(", ");
            return Err(bad(format!("no kind of row has all of {keys}; {EXPECTED}")));
        }
        Ok(map)
    }

    /// The kinds of rows that have all mapped keys.
    fn kinds(
        &self,
    ) -> impl Iterator<Item = &'static (&'static [&'static str], &'static [&'static str])> {
        let all = |(needed, may): &&(&[&str], &[&str])| {
            self.0.keys().all(|ours| needed.iter().chain(*may).any(|k| k == ours))
        };
        KINDS.iter().filter(all)
    }

    /// The value of one of our keys; null counts as absent.
    fn get<'r>(&self, record: &'r Record, ours: &str) -> Option<&'r Value> {
        let found = match self.0.get(ours) {
            Some(theirs) => record.get(theirs),
            None => {
                let alias = || Some(ALIASES.iter().find(|(name, _)| *name == ours)?.1);
                record.get(ours).or_else(|| record.get(alias()?))
            }
        };
        found.filter(|value| !value.is_null())
    }

    /// The row of a record, or what is wrong with it. Keys beyond the known ones are ignored.
    pub fn row(&self, record: &Record) -> std::result::Result<Row, String> {
        let whole = |(needed, _): &&(&[&str], &[&str])| {
            needed.iter().all(|key| self.get(record, key).is_some())
        };
        let found: Vec<_> = self.kinds().filter(whole).collect();
        let key = |(name, value): (&String, &Value)| match value.is_null() {
            true => format!("{name} (null)"),
            false => name.clone(),
        };
        let keys = || Vec::from_iter(record.iter().map(key)).join(", ");
        match found[..] {
            [] if !self.0.is_empty() => {
                let missing = self.0.values().find(|theirs| !record.contains_key(*theirs));
                let why = match missing {
                    Some(theirs) => format!("there is no `{theirs}`, which --map names"),
                    None => "a key beside those of --map is missing".into(),
                };
                Err(format!("found the keys [{}]: {why}", keys()))
            }
            [] => Err(format!("found the keys [{}]; {EXPECTED}", keys())),
            [(needed, _)] => self.of_kind(record, needed),
            [first, second, ..] => {
                let names = |kind: &(&[&str], &[&str])| kind.0.join(" and ");
                let (first, second) = (names(first), names(second));
                let example = second.split(' ').next().unwrap_or_default();
                Err(format!(
                    "found the keys [{}], of two kinds of rows: {first}, or {second}; choose one with --map, \
                     as --map {example}={example}",
                    keys()
                ))
            }
        }
    }

    fn of_kind(&self, record: &Record, needed: &[&str]) -> std::result::Result<Row, String> {
        let text = |key: &str| match self.get(record, key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Array(_)) if ["prompt", "completion"].contains(&key) => {
                Err(format!("`{key}` is a list; give messages under the key `messages`"))
            }
            Some(Value::Number(n)) => {
                Err(format!("`{key}` must be a string, found {n}; put it in quotes"))
            }
            Some(other) => Err(format!("`{key}` must be a string, found {other}")),
            None => Ok(String::new()),
        };
        match needed[0] {
            "prompt" => {
                let (prompt, completion) = (text("prompt")?, text("completion")?);
                Ok(Row::PromptCompletion { prompt, completion })
            }
            "text" => Ok(Row::Text(text("text")?)),
            "instruction" => {
                let prompt = instruction_prompt(&text("instruction")?, &text("input")?);
                Ok(Row::PromptCompletion { prompt, completion: text("response")? })
            }
            _ => messages(self.get(record, "messages")),
        }
    }
}

/// `### Instruction:`, where there is an input `### Input:`, and `### Response:`, with blank lines between.
///
/// **Source** Taori et al. 2023 (Stanford Alpaca), without its opening sentence; an empty input has no
/// section, as there.
pub fn instruction_prompt(instruction: &str, input: &str) -> String {
    let input = match input.trim().is_empty() {
        true => String::new(),
        false => format!("### Input:\n{input}\n\n"),
    };
    format!("### Instruction:\n{instruction}\n\n{input}### Response:\n")
}

/// Messages as a list, or as its JSON text (in CSV). ShareGPT's `from` and `value` are taken as `role` and
/// `content`.
fn messages(value: Option<&Value>) -> std::result::Result<Row, String> {
    let parsed: Value;
    let list = match value {
        Some(Value::Array(list)) => list,
        Some(Value::String(text)) => {
            parsed = record_json::value(&mut serde_json::Deserializer::from_str(text))
                .map_err(|e| format!("`messages` is text that is not JSON ({e})"))?;
            parsed.as_array().ok_or("`messages` must be a list")?
        }
        _ => {
            return Err("`messages` must be a list of {\"role\": \"…\", \"content\": \"…\"}".into());
        }
    };
    let mut all = Vec::new();
    for (i, message) in list.iter().enumerate() {
        let message = match (message.get("from"), message.get("value")) {
            (Some(Value::String(from)), Some(value)) => {
                let role = match from.as_str() {
                    "human" => "user",
                    "gpt" | "chatgpt" | "bot" => "assistant",
                    other => other,
                };
                json!({"role": role, "content": value})
            }
            _ => message.clone(),
        };
        let has = |key: &str| message.get(key).is_some_and(Value::is_string);
        // A call of a tool has no content.
        if !has("role") || (!has("content") && message.get("tool_calls").is_none()) {
            return Err(format!("message {} must have a text `role` and a text `content`", i + 1));
        }
        all.push(message);
    }
    if !all.iter().any(|m| m["role"] == "assistant") {
        return Err("`messages` has none of role assistant: nothing to train on".into());
    }
    Ok(Row::Messages(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(map: &[&str], record: Value) -> std::result::Result<Row, String> {
        ColumnMap::new(map).unwrap().row(record.as_object().unwrap())
    }

    fn pair(prompt: &str, completion: &str) -> Row {
        Row::PromptCompletion { prompt: prompt.into(), completion: completion.into() }
    }

    #[test]
    fn records_become_rows() {
        let got = row(&[], json!({"prompt": "a", "completion": "b", "id": 7, "text": null}));
        assert_eq!(got.unwrap(), pair("a", "b"));
        assert_eq!(row(&[], json!({"text": "t"})).unwrap(), Row::Text("t".into()));
        let got = row(&[], json!({"instruction": "Add.", "input": "", "response": "3"}));
        assert_eq!(got.unwrap(), pair("### Instruction:\nAdd.\n\n### Response:\n", "3"));
        let got = row(&[], json!({"instruction": "Add.", "input": "1, 2", "output": "3"}));
        let prompt = "### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:\n";
        assert_eq!(got.unwrap(), pair(prompt, "3"));
        let said = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
        let expected = Row::Messages(said.as_array().unwrap().clone());
        assert_eq!(row(&[], json!({"messages": said})).unwrap(), expected);
        assert_eq!(row(&[], json!({"messages": said.to_string()})).unwrap(), expected);
        let shared = json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]);
        assert_eq!(row(&[], json!({"conversations": shared})).unwrap(), expected);
    }

    #[test]
    fn columns_are_mapped_and_choose_between_kinds() {
        let both = json!({"instruction": "i", "output": "o", "text": "t", "review": "r"});
        assert!(row(&[], both.clone()).unwrap_err().contains("--map instruction=instruction"));
        assert_eq!(row(&["text=review"], both.clone()).unwrap(), Row::Text("r".into()));
        assert_eq!(row(&["text=text"], both.clone()).unwrap(), Row::Text("t".into()));
        let got = row(&["prompt=review, completion=output"], both.clone());
        assert_eq!(got.unwrap(), pair("r", "o"));
        let got = row(&["response=review"], both.clone()).unwrap();
        assert_eq!(got, pair("### Instruction:\ni\n\n### Response:\n", "r"));
        let why = row(&["text=rewiew"], both.clone()).unwrap_err();
        assert!(why.contains("no `rewiew`") && why.contains("[instruction, output"), "{why}");
        assert!(row(&["prompt=text"], both).unwrap_err().contains("beside those of --map"));
        for (map, part) in [
            (&["text"][..], "text=review"),
            (&["txt=a"], "`txt` is no key"),
            (&["text=a", "text=b"], "twice"),
            (&["text=a,prompt=b"], "prompt, text"),
        ] {
            let why = ColumnMap::new(map).unwrap_err().to_string();
            assert!(why.contains(part), "{part:?} not in {why:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_record_is_said() {
        for (record, parts) in [
            (json!({"promt": "a", "completion": "b"}), ["promt", "expected"]),
            (json!({"prompt": "a", "completion": null}), ["completion (null), prompt", "expected"]),
            (json!({"prompt": "a", "completion": 12.5}), ["`completion` must be a string", "12.5"]),
            (
                json!({"prompt": [{"role": "user"}], "completion": ""}),
                ["`prompt` is a list", "messages"],
            ),
            (json!({"messages": [{"role": "user", "content": "q"}]}), ["assistant", "messages"]),
            (json!({"messages": [{"role": "user"}]}), ["message 1", "content"]),
            (json!({"messages": "[{"}), ["messages", "not JSON"]),
            (json!({"messages": 3}), ["messages", "list"]),
        ] {
            let why = row(&[], record).unwrap_err();
            for part in parts {
                assert!(why.contains(part), "{part:?} not in {why:?}");
            }
        }
    }
}
