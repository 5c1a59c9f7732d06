//! The language of chat templates as a wasm of its own: the library's sources, without the library.
//! `src/format/template_web.rs` is the other end.

#![allow(dead_code, reason = "the library uses what is not used here")]

#[path = "../../../src/error.rs"]
mod error;
mod format;

use format::{Answer, ChatTemplate, Conversation, Request};
use wasm_bindgen::prelude::wasm_bindgen;

/// The request carries its date.
mod clock {
    pub fn since_epoch() -> f64 {
        0.0
    }
}

/// Renders a [`Request`] and gives an [`Answer`], both as JSON.
#[wasm_bindgen]
pub fn render(request: &str) -> String {
    let answer =
        rendered(request).unwrap_or_else(|why| Answer { error: Some(why), ..Answer::default() });
    serde_json::to_string(&answer).unwrap_or_default()
}

fn rendered(request: &str) -> Result<Answer, String> {
    let request: Request = serde_json::from_str(request).map_err(|e| e.to_string())?;
    let template = ChatTemplate::new(&request.name, &request.source, "", "");
    let template = template.and_then(|template| match &request.with_tools {
        Some(source) => template.with_tools(source),
        None => Ok(template),
    });
    let template = template.map_err(|e| e.to_string())?;
    let template = template.with_variables(request.variables).with_date(request.date);
    let conversation = Conversation {
        messages: &request.messages,
        tools: request.tools.as_deref(),
        documents: request.documents.as_deref(),
        add_generation_prompt: request.add_generation_prompt,
        variables: request.more.as_ref(),
    };
    let rendered = template.render(&conversation).map_err(|e| e.to_string())?;
    Ok(Answer { text: rendered.text, generation: rendered.generation, error: None })
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn a_request_gives_the_text_or_what_is_wrong() {
        let ask = |source: &str| {
            let date = r#"{"year":2026,"month":1,"day":2,"hour":0,"minute":0,"second":0}"#;
            let message = r#"[{"role":"user","content":"Hi"}]"#;
            render(&format!(
                r#"{{"name":"t","source":"{source}","variables":{{"bos_token":"<s>"}},"date":{date},
                "messages":{message},"add_generation_prompt":true}}"#
            ))
        };
        let said = ask("{{ bos_token }}{{ messages[0].content }}{{ strftime_now('%Y') }}");
        assert_eq!(said, r#"{"text":"<s>Hi2026"}"#);
        assert!(ask("{{ raise_exception('no') }}").contains(r#""error":"#), "{said}");
        assert!(ask("{% if %}").contains(r#""error":"#));
    }
}
