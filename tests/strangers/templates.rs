//! templates: a chat template and a conversation, rendered.

use serde_json::Value;
use wgpu_lora::format::{Conversation, Tokenizer};

use super::case::{Case, Verdict};

/// Reads the tokenizer with its template, as the program does, and renders the conversation.
pub fn judge(case: &Case) -> Verdict {
    let list = |key: &str| case.input[key].as_array().map(Vec::as_slice);
    let conversation = Conversation {
        messages: list("messages").unwrap_or_default(),
        tools: list("tools"),
        documents: list("documents"),
        add_generation_prompt: case.input["add_generation_prompt"] == true,
        variables: case.input["variables"].as_object(),
    };
    let render = || {
        let mut tokenizer = Tokenizer::from_file(case.path(""))?;
        if let Some(date) = case.input["date"].as_str().and_then(|date| date.parse().ok()) {
            tokenizer.set_date(date);
        }
        tokenizer.chat_template()?.render(&conversation)
    };
    let rendered = match render() {
        Ok(rendered) => rendered,
        // Where the template itself says no, both do.
        Err(_) if case.expect["error"].is_string() => return Verdict::Agreed,
        Err(error) => return case.refused(&error),
    };
    if case.expect["text"] != rendered.text.as_str() {
        return Verdict::Disagreed(format!("{:?}, not {}", rendered.text, case.expect["text"]));
    }
    // transformers counts characters.
    let characters = |at: usize| rendered.text[..at].chars().count();
    let spans = rendered.generation.map(|spans| {
        Vec::from_iter(
            spans.iter().map(|s| Value::from(vec![characters(s.start), characters(s.end)])),
        )
    });
    match case.expect["generation"] == Value::from(spans.clone()) {
        true => Verdict::Agreed,
        false => Verdict::Disagreed(format!("{spans:?}, not {}", case.expect["generation"])),
    }
}
