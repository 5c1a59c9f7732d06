//! The language of chat templates: jinja2 with the settings and additions of transformers, on
//! Python's values.
//!
//! No engine that exists in Rust is this language. Operators, texts of values, scopes, lazy filters
//! and the many methods of Python's texts show in what a template writes, so they are computed here
//! as Python computes them. What is left out is refused by name, when a template reaches it.
//!
//! `parser` makes a tree of a text; `run` and `eval` walk it; `value` says what a value is.

mod again;
mod args;
mod ast;
mod attributes;
mod call;
mod compare;
mod equality;
mod eval;
mod expression;
mod fault;
mod filters;
mod format;
mod json;
mod lexer;
mod literal;
mod machine;
mod markup;
mod members;
mod methods;
mod names;
mod number;
mod operators;
mod order;
mod parser;
mod path;
mod percent;
mod pieces;
mod print;
mod run;
mod scope;
mod seen;
mod source;
mod strings;
mod tests;
mod token;
mod unicode;
mod value;

use std::rc::Rc;

use serde_json::Map;

use super::conversation::{Conversation, Rendered};
use super::moment::Moment;
use crate::error::{Error, Result};
use fault::{Fault, Kind, beyond, raised};
use parser::Program;
use run::{Out, run};
use value::{Dict, Machine, Scope, Value};

/// A chat template, ready to render.
///
/// As in transformers: blocks swallow their line's end and indentation, values cannot be changed,
/// `raise_exception`, `strftime_now` and `tojson` exist, loops may `break`, and `{% generation %}`
/// marks what the assistant says.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    name: String,
    program: Program,
    /// Used where tools are given.
    with_tools: Option<Program>,
    /// Special tokens by their names.
    variables: Map<String, serde_json::Value>,
    now: Moment,
}

impl ChatTemplate {
    /// Reads a template; `name` is its name in messages, `bos` and `eos` the texts of the tokens
    /// that it may write.
    ///
    /// **Errors** [`Error::Format`] with the line of what is not Jinja, [`Error::Unsupported`].
    pub fn new(name: &str, source: &str, bos: &str, eos: &str) -> Result<ChatTemplate> {
        let program = parser::parse(source).map_err(|fault| said(name, fault))?;
        let mut variables = Map::new();
        variables.insert("bos_token".into(), bos.into());
        variables.insert("eos_token".into(), eos.into());
        let (name, now) = (name.into(), Moment::now());
        Ok(ChatTemplate { name, program, with_tools: None, variables, now })
    }

    /// The same with other variables beside the conversation's: a tokenizer's special tokens.
    pub fn with_variables(self, variables: Map<String, serde_json::Value>) -> ChatTemplate {
        ChatTemplate { variables, ..self }
    }

    /// The same with the date that `strftime_now` writes.
    pub fn with_date(self, now: Moment) -> ChatTemplate {
        ChatTemplate { now, ..self }
    }

    /// The same with another template for conversations that have tools (`tool_use`).
    ///
    /// **Errors** as [`ChatTemplate::new`].
    pub fn with_tools(self, source: &str) -> Result<ChatTemplate> {
        let with_tools = parser::parse(source).map_err(|fault| said(&self.name, fault))?;
        Ok(ChatTemplate { with_tools: Some(with_tools), ..self })
    }

    /// The text of a conversation, and what of it the template marks as the assistant's.
    ///
    /// As transformers does before it renders, keys of messages that are null are left out, and
    /// what was thought is given under `thinking` and `reasoning_content`, whichever of these and
    /// `reasoning` it has.
    ///
    /// **Errors** [`Error::Format`] with what the template says, such as that roles must alternate;
    /// [`Error::Unsupported`] for what it needs of Jinja or Python and this program does not know.
    pub fn render(&self, conversation: &Conversation) -> Result<Rendered> {
        let program = match (&self.with_tools, conversation.tools) {
            (Some(program), Some(_)) => program,
            _ => &self.program,
        };
        self.text(program, conversation).map_err(|fault| said(&self.name, fault))
    }

    fn text(&self, program: &Program, conversation: &Conversation) -> fault::Result<Rendered> {
        let mut machine = Machine::new(self.now, again::again);
        let given = Scope::outermost();
        for (name, value) in
            self.variables.iter().chain(conversation.variables.into_iter().flatten())
        {
            given.set(&(&**name).into(), of_json(value)?);
        }
        let messages = conversation.messages.iter().map(message).collect::<fault::Result<_>>()?;
        given.set(&"messages".into(), Value::list(messages)?);
        for (name, list) in [("tools", conversation.tools), ("documents", conversation.documents)] {
            let value = match list {
                None => Value::None,
                Some(list) if list.iter().all(serde_json::Value::is_object) => {
                    Value::list(list.iter().map(of_json).collect::<fault::Result<_>>()?)?
                }
                Some(_) => return Err(raised(format!("`{name}` must be a list of objects"))),
            };
            given.set(&name.into(), value);
        }
        let prompt = Value::Bool(conversation.add_generation_prompt);
        given.set(&"add_generation_prompt".into(), prompt);
        let scope = Scope::inside(&given, &program.body.hidden);
        let mut out = Out { text: String::new(), is_root: true };
        run(&mut machine, &program.body.statements, &scope, &mut out)?;
        let generation = program.marks.then(|| machine.spans(&out.text));
        scope.clear();
        Ok(Rendered { text: out.text, generation })
    }
}

/// A message as transformers gives it to a template.
fn message(value: &serde_json::Value) -> fault::Result<Value> {
    const THOUGHTS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
    let serde_json::Value::Object(message) = value else {
        return Err(raised("a message must be an object"));
    };
    let thought = THOUGHTS.iter().find_map(|key| message.get(*key).filter(|v| !v.is_null()));
    let mut entries = Vec::new();
    if let Some(thought) = thought.filter(|_| message.get("thinking").is_none_or(|v| v.is_null())) {
        entries.push((Value::text("thinking"), of_json(thought)?));
    } else if let Some(thinking) = message.get("thinking").filter(|v| !v.is_null()) {
        entries.push((Value::text("thinking"), of_json(thinking)?));
    }
    for (key, value) in message.iter().filter(|(_, value)| !value.is_null()) {
        let value = match (&**key, thought) {
            ("thinking", _) => continue,
            ("reasoning_content", Some(thought)) => of_json(thought)?,
            _ => of_json(value)?,
        };
        entries.push((Value::text(key), value));
    }
    if let Some(thought) =
        thought.filter(|_| message.get("reasoning_content").is_none_or(|v| v.is_null()))
    {
        entries.push((Value::text("reasoning_content"), of_json(thought)?));
    }
    Ok(Value::Dict(Rc::new(Dict::of_distinct(entries)?)))
}

/// A value as Python's `json` reads it.
fn of_json(value: &serde_json::Value) -> fault::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::String(text) => Value::text(text),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => Value::Int(n.into()),
            (_, Some(n), _) => Value::Int(n.into()),
            // Here a longer whole number has become a float already, and which it was is not known.
            (.., Some(x)) if x.abs() >= 18_446_744_073_709_551_615.0 => {
                return Err(beyond("numbers of more than 64 bits in a conversation"));
            }
            (.., x) => Value::Float(x.unwrap_or(f64::NAN)),
        },
        serde_json::Value::Array(list) => {
            Value::list(list.iter().map(of_json).collect::<fault::Result<_>>()?)?
        }
        serde_json::Value::Object(map) => {
            let pair = |(key, value): (&String, _)| Ok((Value::text(key), of_json(value)?));
            let entries = map.iter().map(pair).collect::<fault::Result<_>>()?;
            Value::Dict(Rc::new(Dict::of_distinct(entries)?))
        }
    })
}

fn said(name: &str, fault: Fault) -> Error {
    let at = match fault.line {
        0 => "chat template".to_owned(),
        line => format!("chat template line {line}"),
    };
    match fault.kind {
        Kind::Raised => Error::format(name, at, fault.why),
        Kind::Beyond => Error::Unsupported {
            what: format!("{name}: {at}: {}", fault.why),
            hint: "write the template without it, or give the conversation as text".into(),
        },
    }
}
