//! From a record to what is trained on: which keys make which kind of row.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::chat_row::{Chat, brief, history, messages};
use super::records::Record;
use crate::format::RowFormat;
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
    /// `{"messages"}`, a `prompt` and a `completion` of messages, or an instruction with `system`,
    /// `history` or `tools`: the model's chat template writes it; the loss is on what the assistant
    /// says.
    Chat(Box<Chat>),
}

impl Row {
    /// Its kind.
    pub fn format(&self) -> RowFormat {
        match self {
            Row::PromptCompletion { .. } => RowFormat::PromptCompletion,
            Row::Text(_) => RowFormat::Text,
            Row::Chat(_) => RowFormat::Messages,
        }
    }
}

/// The keys that a kind of row needs, and those that it may have.
type Kind = (&'static [&'static str], &'static [&'static str]);

const KINDS: [Kind; 4] = [
    (&["prompt", "completion"], &["tools", "chat_template_kwargs"]),
    (&["text"], &[]),
    (&["instruction", "response"], &["input", "system", "history", "tools"]),
    (&["messages"], &["system", "tools", "chat_template_kwargs"]),
];

/// Columns that the references read in place of text, or as more than text.
const REFUSED: [(&str, &str); 8] = [
    ("chosen", PREFERENCE),
    ("rejected", PREFERENCE),
    ("input_ids", TOKENIZED),
    ("labels", TOKENIZED),
    ("image", MEDIA),
    ("images", MEDIA),
    ("videos", MEDIA),
    ("audios", MEDIA),
];
const PREFERENCE: &str = "is one half of a preference, which supervised training does not read; to train on the chosen answers alone use \
     ‹map = completion=chosen›, or messages=chosen";
const PREFERENCE_LABEL: &str = "says whether it is a good one, which supervised training does not read; keep the good rows and take the column out";
const TOKENIZED: &str = "stands for rows that are tokenized already, which are not read; take the column out to train on the texts";
const MEDIA: &str = "is not read: models here see text alone; take such rows, or the column, out";

/// Other names of keys, in data sets that are about: Alpaca's answer, ShareGPT's messages.
const ALIASES: [(&str, &str); 2] = [("response", "output"), ("messages", "conversations")];

const EXPECTED: &str = "expected {\"prompt\": \"…\", \"completion\": \"…\"}, {\"text\": \"…\"}, \
                        {\"instruction\": \"…\", \"response\": \"…\"} or {\"messages\": […]}; other names can \
                        be mapped (‹map = text=review›)";

/// Which of a file's columns stand for ours: `text=review` reads `text` from the column `review`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMap(BTreeMap<String, String>);

impl ColumnMap {
    /// From `ours=theirs`, one or several with commas in each text.
    ///
    /// **Errors** [`Error::Invalid`] for something else, a key that no row has, one given twice, or
    /// keys that no kind of row has together.
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
    fn kinds(&self) -> impl Iterator<Item = &'static Kind> {
        let all = |(needed, may): &&Kind| {
            self.0.keys().all(|ours| needed.iter().chain(*may).any(|k| k == ours))
        };
        KINDS.iter().filter(all)
    }

    /// The value of one of our keys; null counts as absent.
    fn get<'r>(&self, record: &'r Record, ours: &str) -> Option<&'r Value> {
        record.get(self.column(record, ours)?)
    }

    /// The column that has the value of one of our keys.
    fn column<'c>(&'c self, record: &Record, ours: &'c str) -> Option<&'c str> {
        let has = |name: &&str| record.get(*name).is_some_and(|value| !value.is_null());
        match self.0.get(ours) {
            Some(theirs) => Some(theirs.as_str()).filter(has),
            None => {
                let alias =
                    || ALIASES.iter().find(|(name, _)| *name == ours).map(|(_, alias)| *alias);
                Some(ours).filter(has).or_else(|| alias().filter(has))
            }
        }
    }

    /// The row of a record, or what is wrong with it.
    pub fn row(&self, record: &Record) -> std::result::Result<Row, String> {
        Ok(self.row_and_rest(record)?.0)
    }

    /// The row of a record, and the columns with a value that it is not made of.
    pub(super) fn row_and_rest<'r>(
        &self,
        record: &'r Record,
    ) -> std::result::Result<(Row, impl Iterator<Item = &'r str>), String> {
        let (needed, may) = self.kind(record)?;
        let row = self.of_kind(record, needed)?;
        // Texts are given to no template.
        let may = if matches!(row, Row::PromptCompletion { .. }) && needed[0] == "prompt" {
            &[]
        } else {
            *may
        };
        let read = needed.iter().chain(may).filter_map(|ours| self.column(record, ours));
        let read: Vec<&str> = read.collect();
        let rest = |(name, value): (&'r String, &Value)| {
            (!value.is_null() && !read.contains(&name.as_str())).then_some(name.as_str())
        };
        let rest: Vec<&str> = record.iter().filter_map(rest).collect();
        for name in rest.iter().filter(|_| self.0.is_empty()) {
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name)
                && !record[*name].as_array().is_some_and(Vec::is_empty)
            {
                return Err(format!("`{name}` {why}"));
            }
            if *name == "label" && needed[0] == "prompt" && record[*name].is_boolean() {
                return Err(format!("`label` beside a completion {PREFERENCE_LABEL}"));
            }
        }
        Ok((row, rest.into_iter()))
    }

    /// The one kind of row that a record has all keys of.
    fn kind(&self, record: &Record) -> std::result::Result<&'static Kind, String> {
        let whole = |(needed, _): &&Kind| needed.iter().all(|key| self.get(record, key).is_some());
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
                    Some(theirs) => format!("there is no `{theirs}`, which ‹map› names"),
                    None => "a key beside those of ‹map› is missing".into(),
                };
                Err(format!("found the keys [{}]: {why}", keys()))
            }
            [] => Err(format!("found the keys [{}]; {EXPECTED}", keys())),
            [kind] => Ok(kind),
            [first, second, ..] => {
                let names = |kind: &Kind| kind.0.join(" and ");
                let (first, second) = (names(first), names(second));
                let example = second.split(' ').next().unwrap_or_default();
                Err(format!(
                    "found the keys [{}], of two kinds of rows: {first}, or {second}; choose one with ‹map›, \
                     as ‹map = {example}={example}›",
                    keys()
                ))
            }
        }
    }

    fn of_kind(&self, record: &Record, needed: &[&str]) -> std::result::Result<Row, String> {
        let text = |key: &str| match self.get(record, key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(n)) => {
                Err(format!("`{key}` must be a string, found {n}; put it in quotes"))
            }
            Some(other) => Err(format!("`{key}` must be a string, found {}", brief(other))),
            None => Ok(String::new()),
        };
        let chat = |chat: Chat| {
            let chat = chat.with_tools(self.get(record, "tools"))?;
            Ok(Row::Chat(chat.with_variables(self.get(record, "chat_template_kwargs"))?.into()))
        };
        let list = |key: &str| match self.get(record, key) {
            Some(value) => messages(key, value),
            None => Ok(Vec::new()),
        };
        match needed[0] {
            "prompt" if ["prompt", "completion"].iter().any(|k| self.is_list(record, k)) => {
                if !["prompt", "completion"].iter().all(|k| self.is_list(record, k)) {
                    let why =
                        "one of `prompt` and `completion` is a list of messages, the other is text";
                    return Err(why.into());
                }
                let mut all = list("prompt")?;
                let prompt = Some(all.len());
                all.extend(list("completion")?);
                chat(Chat { prompt, ..Chat::new(all)? })
            }
            "prompt" => {
                let (prompt, completion) = (text("prompt")?, text("completion")?);
                Ok(Row::PromptCompletion { prompt, completion })
            }
            "text" => Ok(Row::Text(text("text")?)),
            "instruction" => {
                let (asked, input) = (text("instruction")?, text("input")?);
                let (system, completion) = (text("system")?, text("response")?);
                let mut all = match self.get(record, "history") {
                    Some(Value::String(none)) if none.trim().is_empty() => Vec::new(),
                    Some(value) => history(value)?,
                    None => Vec::new(),
                };
                let tools = self.get(record, "tools").is_some_and(|tools| {
                    tools.as_str().is_none_or(|text| !["", "[]"].contains(&text.trim()))
                        && tools.as_array().is_none_or(|list| !list.is_empty())
                });
                if all.is_empty() && system.is_empty() && !tools {
                    let prompt = instruction_prompt(&asked, &input);
                    return Ok(Row::PromptCompletion { prompt, completion });
                }
                let asked = [asked, input].into_iter().filter(|text| !text.is_empty());
                let asked = Vec::from_iter(asked).join("\n");
                all.push(json!({"role": "user", "content": asked}));
                all.push(json!({"role": "assistant", "content": completion}));
                chat(Chat::new(all)?.with_system(&system)?)
            }
            _ => chat(Chat::new(list("messages")?)?.with_system(&text("system")?)?),
        }
    }

    fn is_list(&self, record: &Record, ours: &str) -> bool {
        self.get(record, ours).is_some_and(Value::is_array)
    }
}

/// `### Instruction:`, where there is an input `### Input:`, and `### Response:`, with blank lines
/// between.
///
/// **Source** Taori et al. 2023 (Stanford Alpaca), without its opening sentence; an empty input has
/// no section, as there.
pub fn instruction_prompt(instruction: &str, input: &str) -> String {
    let input = match input.trim().is_empty() {
        true => String::new(),
        false => format!("### Input:\n{input}\n\n"),
    };
    format!("### Instruction:\n{instruction}\n\n{input}### Response:\n")
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
    }

    #[test]
    fn columns_are_mapped_and_choose_between_kinds() {
        let both = json!({"instruction": "i", "output": "o", "text": "t", "review": "r"});
        assert!(row(&[], both.clone()).unwrap_err().contains("‹map = instruction=instruction›"));
        assert_eq!(row(&["text=review"], both.clone()).unwrap(), Row::Text("r".into()));
        assert_eq!(row(&["text=text"], both.clone()).unwrap(), Row::Text("t".into()));
        let got = row(&["prompt=review, completion=output"], both.clone());
        assert_eq!(got.unwrap(), pair("r", "o"));
        let got = row(&["response=review"], both.clone()).unwrap();
        assert_eq!(got, pair("### Instruction:\ni\n\n### Response:\n", "r"));
        let why = row(&["text=rewiew"], both.clone()).unwrap_err();
        assert!(why.contains("no `rewiew`") && why.contains("[instruction, output"), "{why}");
        assert!(row(&["prompt=text"], both).unwrap_err().contains("beside those of ‹map›"));
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
        let (user, pair) =
            (json!([{"role": "user", "content": "q"}]), json!({"prompt": "a", "completion": "b"}));
        let with = |key: &str, value: Value| {
            let mut pair = pair.clone();
            pair[key] = value;
            pair
        };
        for (record, parts) in [
            (json!({"promt": "a", "completion": "b"}), ["promt", "expected"]),
            (json!({"prompt": "a", "completion": null}), ["completion (null)", "expected"]),
            (json!({"prompt": "a", "completion": 12.5}), ["`completion` must be a string", "12.5"]),
            (json!({"prompt": user, "completion": ""}), ["one of `prompt`", "messages"]),
            (with("chosen", "c".into()), ["`chosen`", "preference"]),
            (with("rejected", "c".into()), ["`rejected`", "‹map = "]),
            (with("label", true.into()), ["`label`", "supervised"]),
            (with("input_ids", json!([1])), ["`input_ids`", "tokenized already"]),
            (with("images", json!(["a.png"])), ["`images`", "text alone"]),
            (json!({"messages": [{"role": "user"}]}), ["message 1", "content"]),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}),
                ["message 1", "image"],
            ),
            (json!({"messages": []}), ["messages", "list"]),
            (json!({"messages": "[{"}), ["messages", "not JSON"]),
            (json!({"messages": 3}), ["messages", "list"]),
            (json!({"messages": user, "tools": "x"}), ["`tools`", "not JSON"]),
            (json!({"messages": user, "tools": [1]}), ["`tools`", "list of objects"]),
            (
                json!({"messages": user, "chat_template_kwargs": {"chat_template": "x"}}),
                ["chat_template_kwargs", "cannot"],
            ),
            (
                json!({"messages": [{"role": "system", "content": "q"}], "system": "s"}),
                ["`system`", "another one"],
            ),
            (
                json!({"conversations": [{"from": "narrator", "value": "q"}]}),
                ["`from` narrator", "observation"],
            ),
            (
                json!({"conversations": [{"from": "function_call", "value": "{}"}]}),
                ["function_call", "arguments"],
            ),
            (
                json!({"instruction": "i", "output": "o", "history": [["a"]]}),
                ["`history`", "answer"],
            ),
        ] {
            let why = row(&[], record).unwrap_err();
            for part in parts {
                assert!(why.contains(part), "{part:?} not in {why:?}");
            }
        }
        // What is no column of that kind of row, or has no value, is not refused.
        for key in ["chosen", "input_ids", "images"] {
            assert!(
                row(&[], with(key, Value::Null)).is_ok()
                    && row(&[], with("images", json!([]))).is_ok()
            );
        }
        assert!(row(&["prompt=prompt"], with("chosen", "c".into())).is_ok());
        assert!(row(&[], with("label", 3.into())).is_ok());
        assert!(row(&[], json!({"text": "t", "label": true})).is_ok());
    }
}
