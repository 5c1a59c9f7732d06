//! A conversation as it stands in a record: messages by the roles that templates know, the tools
//! that they may call, and which of them count.
//!
//! **Source** TRL 1.16 (`tools` and `chat_template_kwargs` beside `messages`; a `prompt` and a
//! `completion` that are lists of messages), LLaMA-Factory's data formats (ShareGPT's roles,
//! `system`, `history`), OpenAI's `weight`.

use serde_json::{Map, Value, json};

use super::records::json;

/// What is said of something in a record that cannot be used.
type Said<T> = std::result::Result<T, String>;

/// One conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    /// Objects with `role`, `content` and whatever else the template reads.
    pub messages: Vec<Value>,
    /// Of a prompt and a completion: how many messages the prompt has. The loss is on what the
    /// template writes behind them.
    pub prompt: Option<usize>,
    /// The tools that the assistant may call.
    pub tools: Option<Vec<Value>>,
    /// Documents to answer from.
    pub documents: Option<Vec<Value>>,
    /// Further variables of the template (`chat_template_kwargs`).
    pub variables: Map<String, Value>,
    /// Messages whose `weight` is 0: they are context, never targets.
    pub muted: Vec<usize>,
}

impl Chat {
    /// A conversation of these messages alone.
    ///
    /// **Errors** what is wrong with a message.
    pub fn new(messages: Vec<Value>) -> Said<Chat> {
        let mut chat = Chat::default();
        for message in messages {
            chat.push(message)?;
        }
        if chat.messages.is_empty() {
            return Err("there are no messages".into());
        }
        Ok(chat)
    }

    /// Adds a message.
    fn push(&mut self, message: Value) -> Said<()> {
        let number = self.messages.len() + 1;
        let at = |why: String| format!("message {number} {why}");
        let message = with_role(message).map_err(at)?;
        content(&message).map_err(at)?;
        if let Some((key, says)) = left_out(&message) {
            return Err(at(format!(
                "has `{key}`: {says}, which leaves it out of the loss in other programs; here `weight`: 0 does"
            )));
        }
        match message.get("weight").map(|weight| weight.as_f64().ok_or(weight)) {
            None | Some(Ok(1.0)) => {}
            Some(Ok(0.0)) => self.muted.push(self.messages.len()),
            Some(_) => {
                let weight = &message["weight"];
                return Err(at(format!("has a `weight` of {weight}; 0 and 1 are read")));
            }
        }
        self.messages.push(Value::Object(message));
        Ok(())
    }

    /// Puts a system message in front, as LLaMA-Factory does with the column `system`.
    pub(super) fn with_system(mut self, system: &str) -> Said<Chat> {
        if system.is_empty() {
            return Ok(self);
        }
        if self.messages[0]["role"] == "system" {
            return Err("has a column `system`, and messages that begin with another one".into());
        }
        self.messages.insert(0, json!({"role": "system", "content": system}));
        self.muted.iter_mut().for_each(|i| *i += 1);
        self.prompt = self.prompt.map(|n| n + 1);
        Ok(self)
    }

    /// Takes the column `tools`: a list of objects, or its JSON text.
    pub(super) fn with_tools(mut self, tools: Option<&Value>) -> Said<Chat> {
        self.tools = match tools {
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(tools) => Some(objects("tools", tools)?),
            None => None,
        };
        Ok(self)
    }

    /// Takes the column `chat_template_kwargs`: an object, or its JSON text.
    pub(super) fn with_variables(mut self, variables: Option<&Value>) -> Said<Chat> {
        const KEY: &str = "chat_template_kwargs";
        let Some(variables) = variables else { return Ok(self) };
        let Value::Object(variables) = parsed(KEY, variables)? else {
            return Err(format!("`{KEY}` must be an object, found {}", brief(variables)));
        };
        for (key, value) in variables {
            match key.as_str() {
                "tools" if value.is_null() => self.tools = None,
                "tools" => self.tools = Some(objects(&key, &value)?),
                "documents" if value.is_null() => self.documents = None,
                "documents" => self.documents = Some(objects(&key, &value)?),
                // Arguments of `apply_chat_template` that are no variables of a template.
                "conversation"
                | "chat_template"
                | "add_generation_prompt"
                | "continue_final_message"
                | "tokenize"
                | "padding"
                | "truncation"
                | "max_length"
                | "return_tensors"
                | "return_dict"
                | "return_assistant_tokens_mask"
                | "sanitize_control_tokens"
                | "tokenizer_kwargs"
                | "messages" => return Err(format!("`{KEY}` sets `{key}`, which a row cannot")),
                _ => {
                    self.variables.insert(key, value);
                }
            }
        }
        Ok(self)
    }
}

/// Messages as a list, or as its JSON text (in CSV).
pub(super) fn messages(key: &str, value: &Value) -> Said<Vec<Value>> {
    let bad = || format!("`{key}` must be a list of {{\"role\": \"…\", \"content\": \"…\"}}");
    match parsed(key, value)? {
        Value::Array(list) if !list.is_empty() => Ok(list),
        _ => Err(bad()),
    }
}

/// LLaMA-Factory's `history`: pairs of what was asked and answered before.
pub(super) fn history(value: &Value) -> Said<Vec<Value>> {
    let bad = || "`history` must be a list of [\"question\", \"answer\"]".to_string();
    let mut turns = Vec::new();
    for pair in parsed("history", value)?.as_array().ok_or_else(bad)? {
        let [question, answer] = pair.as_array().ok_or_else(bad)?.as_slice() else {
            return Err(bad());
        };
        for (role, said) in [("user", question), ("assistant", answer)] {
            let said = said.as_str().ok_or_else(bad)?;
            turns.push(json!({"role": role, "content": said}));
        }
    }
    Ok(turns)
}

/// A message under `role` and `content`, without its nulls: transformers drops them, and Parquet
/// has them for every key that another message has. ShareGPT's `from` and `value` stand for both.
fn with_role(message: Value) -> Said<Map<String, Value>> {
    let Value::Object(mut message) = message else {
        return Err(format!(
            "must be an object with a `role` and a `content`, found {}",
            brief(&message)
        ));
    };
    message.retain(|_, value| !value.is_null());
    let keys = |message: &Map<String, Value>| {
        Vec::from_iter(message.keys().map(String::as_str)).join(", ")
    };
    if message.get("role").is_some_and(Value::is_string) {
        return Ok(message);
    }
    let (Some(Value::String(from)), Some(value)) = (message.get("from"), message.get("value"))
    else {
        return Err(format!(
            "must have a text `role` and a text `content`; it has [{}]",
            keys(&message)
        ));
    };
    let role = match from.as_str() {
        "human" | "user" => "user",
        "gpt" | "chatgpt" | "bot" | "assistant" | "function_call" | "tool_call" => "assistant",
        "observation" | "function_response" | "tool_response" | "tool" => "tool",
        "system" => "system",
        other => {
            let known = "human, gpt, system, function_call and observation are read";
            return Err(format!("is `from` {}; {known}", crate::error::brief(other.into())));
        }
    };
    let calls =
        from.ends_with("_call").then(|| calls(value).map_err(|why| format!("({from}) {why}")));
    let mut kept = Map::new();
    kept.insert("role".into(), role.into());
    match calls {
        None => kept.insert("content".into(), value.clone()),
        Some(calls) => {
            kept.insert("content".into(), "".into());
            kept.insert("tool_calls".into(), calls?)
        }
    };
    for (key, value) in message.into_iter().filter(|(key, _)| key != "from" && key != "value") {
        if kept.insert(key.clone(), value).is_some() {
            return Err(format!("has `from` and `value`, and `{key}`"));
        }
    }
    Ok(kept)
}

/// The calls that a ShareGPT message writes as JSON: `{"name", "arguments"}`, or a list of them.
fn calls(value: &Value) -> Said<Value> {
    let bad = "must be the JSON of {\"name\": \"…\", \"arguments\": {…}}, or a list of them";
    let list = match parsed("value", value) {
        Ok(Value::Array(list)) if !list.is_empty() => list,
        Ok(one @ Value::Object(_)) => vec![one],
        _ => return Err(bad.into()),
    };
    let mut calls = Vec::new();
    for call in list {
        if !call["name"].is_string() || call.get("arguments").is_none() {
            return Err(format!("{bad}; found {}", brief(&call)));
        }
        calls.push(json!({"type": "function", "function": call}));
    }
    Ok(calls.into())
}

/// A key by which a program says that a message is no target, where it says so. TRL reads none of
/// them.
///
/// **Source** axolotl (`message_field_training`), LLaMA-Factory (`loss`), and what data sets have
/// (`masked`, `trainable`).
fn left_out(message: &Map<String, Value>) -> Option<(&'static str, &Value)> {
    const KEYS: [(&str, bool); 5] = [
        ("train", false),
        ("training", false),
        ("trainable", false),
        ("loss", false),
        ("masked", true),
    ];
    let found = |(key, out)| Some((key, message.get(key).filter(|v| **v == Value::Bool(out))?));
    KEYS.into_iter().find_map(found)
}

/// Text, or a list of parts that are texts. A message without any is a call of a tool, or a
/// thought.
fn content(message: &Map<String, Value>) -> Said<()> {
    match message.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) => match parts.iter().find(|part| part["type"] != "text") {
            None => Ok(()),
            Some(part) => Err(format!(
                "has a part that is no text ({}); images, audio and video are not read",
                brief(part)
            )),
        },
        Some(other) => Err(format!("must have a text `content`, found {}", brief(other))),
        None => {
            let others = ["tool_calls", "reasoning_content", "thinking", "reasoning"];
            match others.iter().any(|key| message.contains_key(*key)) {
                true => Ok(()),
                false => {
                    let keys = Vec::from_iter(message.keys().map(String::as_str)).join(", ");
                    Err(format!("must have a text `content`; it has [{keys}]"))
                }
            }
        }
    }
}

/// A list of objects.
fn objects(key: &str, value: &Value) -> Said<Vec<Value>> {
    match parsed(key, value)? {
        Value::Array(list) if list.iter().all(Value::is_object) => Ok(list),
        other => Err(format!("`{key}` must be a list of objects, found {}", brief(&other))),
    }
}

/// The value of a column; text is its JSON.
fn parsed(key: &str, value: &Value) -> Said<Value> {
    match value {
        Value::String(text) => json::value(&mut serde_json::Deserializer::from_str(text))
            .map_err(|e| format!("`{key}` is text that is not JSON ({e})")),
        other => Ok(other.clone()),
    }
}

/// A value as messages quote it.
pub(super) fn brief(value: &Value) -> String {
    crate::error::brief(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::rows::{ColumnMap, Row};
    use super::*;

    fn chat(record: Value) -> Chat {
        match ColumnMap::default().row(record.as_object().unwrap()).unwrap() {
            Row::Chat(chat) => *chat,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn conversations_of_every_spelling_are_the_same() {
        let said = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
        let expected = Chat { messages: said.as_array().unwrap().clone(), ..Chat::default() };
        assert_eq!(chat(json!({"messages": said})), expected);
        assert_eq!(chat(json!({"messages": said.to_string()})), expected);
        let shared = json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]);
        assert_eq!(chat(json!({"conversations": shared})), expected);
        // Parquet has a null for every key that another message has.
        let nulls = json!([{"role": "user", "content": "q", "tool_calls": null},
            {"role": "assistant", "content": "a", "tool_calls": null, "weight": null}]);
        assert_eq!(
            chat(json!({"messages": nulls, "tools": null, "chat_template_kwargs": null})),
            expected
        );
        // A system column, and what was said before.
        let mut system = expected.messages.clone();
        system.insert(0, json!({"role": "system", "content": "s"}));
        assert_eq!(chat(json!({"conversations": shared, "system": "s"})).messages, system);
        assert_eq!(chat(json!({"conversations": shared, "system": ""})), expected);
        let asked = json!({"instruction": "r", "input": "1", "output": "b", "system": "s", "history": [["q", "a"]]});
        system.push(json!({"role": "user", "content": "r\n1"}));
        system.push(json!({"role": "assistant", "content": "b"}));
        assert_eq!(chat(asked).messages, system);
        // A prompt and a completion.
        let pair = chat(json!({"prompt": [said[0]], "completion": [said[1]]}));
        assert_eq!(pair, Chat { prompt: Some(1), ..expected });
    }

    #[test]
    fn what_leaves_a_message_out_elsewhere_is_named() {
        let with = |key: &str, value: bool| {
            let answer = json!({"role": "assistant", "content": "a", key: value});
            Chat::new(vec![json!({"role": "user", "content": "q"}), answer])
        };
        for (key, out) in [("train", false), ("loss", false), ("masked", true)] {
            assert!(with(key, !out).is_ok());
            let why = with(key, out).unwrap_err();
            assert!(why.starts_with(&format!("message 2 has `{key}`: {out},")), "{why}");
        }
    }

    #[test]
    fn tools_and_their_calls_are_kept() {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        let call = json!({"name": "f", "arguments": {"b": 1, "a": 2}});
        let shared = json!([{"from": "human", "value": "q"}, {"from": "function_call", "value": call.to_string()},
            {"from": "observation", "value": "1"}, {"from": "gpt", "value": "a"}]);
        let called = chat(json!({"conversations": shared, "tools": tools.to_string()}));
        assert_eq!(called.tools.as_deref(), tools.as_array().map(Vec::as_slice));
        let roles: Vec<&str> = called.messages.iter().filter_map(|m| m["role"].as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
        assert_eq!(
            called.messages[1]["tool_calls"],
            json!([{"type": "function", "function": call}])
        );
        let weights = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0},
            {"role": "assistant", "content": "b", "weight": 1.0}]);
        let kwargs = json!({"documents": [{"title": "t"}], "tools": tools, "thinking": false});
        let weighed =
            chat(json!({"messages": weights, "chat_template_kwargs": kwargs, "system": "s"}));
        assert_eq!((weighed.muted, weighed.tools.map(|t| t.len())), (vec![2], Some(1)));
        assert_eq!(weighed.documents, Some(vec![json!({"title": "t"})]));
        assert_eq!(Value::Object(weighed.variables), json!({"thinking": false}));
    }
}
