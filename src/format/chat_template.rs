//! Chat templates: the Jinja text by which a model's makers turn messages into its prompt.

use std::io;

use minijinja::{Environment, Value, syntax::SyntaxConfig};
use serde::Serialize;
use serde_json::json;

use super::conversation::{Conversation, Rendered};
use crate::error::{Error, Result};

/// Steps that a template may take; the largest published ones take some hundred per message.
const FUEL: u64 = 20_000_000;

/// A chat template, ready to render.
///
/// As in transformers: blocks swallow their line's end and indentation, strings have Python's methods,
/// `raise_exception` and `tojson` exist, loops may `break`. `strftime_now` does not: templates that would
/// put today's date into the prompt fall back to the fixed one they bring, so that a run can be repeated.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    name: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Reads a template; `name` is its name in messages, `bos` and `eos` the texts of the tokens that it
    /// may write.
    ///
    /// **Errors** [`Error::Format`] with the line of what is not Jinja.
    pub fn new(name: &str, source: &str, bos: &str, eos: &str) -> Result<ChatTemplate> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| bad(name, e))?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.add_function(
            "raise_exception",
            |why: String| -> Result<Value, minijinja::Error> {
                Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why))
            },
        );
        environment.add_filter("tojson", to_json);
        // transformers marks the assistant's words with a tag of its own; it writes nothing.
        let source = generation_tags(source);
        environment.add_template_owned("chat", source).map_err(|e| bad(name, e))?;
        Ok(ChatTemplate { environment, name: name.into(), bos: bos.into(), eos: eos.into() })
    }

    /// The text of a conversation, and what of it the template marks as the assistant's.
    ///
    /// **Errors** [`Error::Format`] with what the template says, such as that roles must alternate.
    pub fn render(&self, conversation: &Conversation) -> Result<Rendered> {
        let context = json!({
            "messages": conversation.messages,
            "add_generation_prompt": conversation.add_generation_prompt,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "tools": conversation.tools,
            "documents": conversation.documents,
        });
        let context: Value = serde_json::from_value(context)
            .map_err(|e| Error::format(&self.name, "messages", e))?;
        let template = self.environment.get_template("chat").map_err(|e| bad(&self.name, e))?;
        let text = template.render(context).map_err(|e| bad(&self.name, e))?;
        Ok(Rendered { text, generation: None })
    }
}

fn bad(name: &str, error: minijinja::Error) -> Error {
    let at =
        error.line().map_or("chat template".into(), |line| format!("chat template line {line}"));
    let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    Error::format(name, at, why)
}

/// `{% generation %}…{% endgeneration %}` as a condition that always holds, with the same white space.
fn generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        let Some(end) = tag[2..].find("%}").map(|at| at + 2) else { break };
        let (inner, after) = (&tag[2..end], &tag[end + 2..]);
        let trimmed = |c: &str| inner.strip_prefix(c).map_or("", |_| "-");
        let word = inner.trim_matches(|c: char| c == '-' || c.is_whitespace());
        let close = if inner.ends_with('-') { "-" } else { "" };
        out.push_str(before);
        match word {
            "generation" => out.push_str(&format!("{{%{} if true {close}%}}", trimmed("-"))),
            "endgeneration" => out.push_str(&format!("{{%{} endif {close}%}}", trimmed("-"))),
            _ => out.push_str(&tag[..end + 2]),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`, which transformers puts in place of
/// Jinja's own filter.
fn to_json(value: Value, kwargs: minijinja::value::Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let mut out = Vec::new();
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
        Some(n) => {
            let indent = " ".repeat(n.min(64));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        }
    };
    let failed = |e: String| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, e);
    written.map_err(|e| failed(e.to_string()))?;
    String::from_utf8(out).map_err(|e| failed(e.to_string()))
}

/// `, ` and `: ` between elements, as Python writes them.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }
    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }
    fn begin_object_value<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, messages: serde_json::Value, prompt: bool) -> Result<String> {
        let template = ChatTemplate::new("m", template, "<s>", "</s>")?;
        let messages = messages.as_array().unwrap();
        let conversation =
            Conversation { messages, add_generation_prompt: prompt, ..Conversation::default() };
        Ok(template.render(&conversation)?.text)
    }

    #[test]
    fn blocks_swallow_their_lines_and_strings_have_pythons_methods() {
        let template = "{{ bos_token }}\n{% for m in messages %}\n    {% if m['role'] == 'user' %}\n[{{ m['content'].strip().upper() }}]\n    {% elif m.role == 'assistant' %}\n{%- generation -%}\n{{ m.content + eos_token }}\n{%- endgeneration -%}\n    {% else %}\n{{ raise_exception('no ' + m.role) }}\n    {% endif %}\n{% endfor %}\n{% if add_generation_prompt and tools is none %}>{% endif %}\n";
        let messages =
            json!([{"role": "user", "content": " hi "}, {"role": "assistant", "content": "yo"}]);
        assert_eq!(render(template, messages, true).unwrap(), "<s>\n[HI]\nyo</s>>");
        let message = render(template, json!([{"role": "tool", "content": ""}]), true).unwrap_err();
        assert_eq!(message.to_string(), "m: chat template line 10: no tool");
        let message = render("a\n{% if %}", json!([]), false).unwrap_err().to_string();
        assert!(message.starts_with("m: chat template line 2: "), "{message}");
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let messages = json!([{"role": "user", "content": {"a": [1, "é<"], "b": null}}]);
        let template =
            "{{ messages[0].content | tojson }} {{ messages[0].content | tojson(indent=2) }}";
        let expected = "{\"a\": [1, \"é<\"], \"b\": null} {\n  \"a\": [\n    1,\n    \"é<\"\n  ],\n  \"b\": null\n}";
        assert_eq!(render(template, messages, false).unwrap(), expected);
    }

    #[test]
    fn tags_that_begin_and_end_at_once() {
        assert_eq!(generation_tags("{%}} {%%} {% generation"), "{%}} {%%} {% generation");
    }

    #[test]
    fn a_template_that_does_not_end_is_stopped() {
        let endless =
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        let message = render(endless, json!([]), false).unwrap_err().to_string();
        assert!(message.contains("chat template"), "{message}");
        let deep = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(render(deep, json!([]), false).is_err());
    }
}
