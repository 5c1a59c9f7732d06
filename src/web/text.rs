//! Text in the browser: the likeliest tokens, texts that go on, conversations.

use js_sys::Function;
use wasm_bindgen::prelude::*;

use super::args::*;
use super::js;
use super::model::{Holder, WasmModel, busy};
use crate::format::Special;
use crate::generate::{ChatSession, Generator, Token, next_tokens};

#[wasm_bindgen]
impl WasmModel {
    /// The `n` most probable next tokens of a prompt.
    #[wasm_bindgen(js_name = nextTokens)]
    pub async fn next_tokens(&self, prompt: String, n: usize) -> Result<JsValue, JsValue> {
        let model = self.model().map_err(js::error)?;
        let found = next_tokens(model, &self.tokenizer, &prompt, n).await.map_err(js::error)?;
        let name = |id| self.tokenizer.decode(&[id], Special::With).unwrap_or_default();
        let rows: Vec<NextToken> = found
            .into_iter()
            .map(|c| NextToken {
                id: c.id,
                text: name(c.id),
                logit: c.logit,
                probability: c.probability,
            })
            .collect();
        js::object(&rows)
    }

    /// Generates; `each({id, text})` is told every token and ends it by returning `false`.
    pub async fn generate(
        &self,
        prompt: String,
        options: String,
        each: Function,
    ) -> Result<JsValue, JsValue> {
        let options = js::options::<GenerateArgs>(&options)?.options();
        let model = self.model().map_err(js::error)?;
        let mut generator =
            Generator::new(model, &self.tokenizer, &prompt, options).map_err(js::error)?;
        while let Some(token) = generator.next().await.map_err(js::error)? {
            if !tell(&each, &token)? {
                break;
            }
        }
        js::object(&Generated {
            prompt_tokens: generator.prompt().len(),
            tokens: generator.ids(),
            finish: generator.finish().map(|finish| finish.name()),
            turns_dropped: 0,
            ..Generated::timed(generator.timings())
        })
    }

    /// Answers a message of the conversation; otherwise as [`generate`]. Templates are rendered by
    /// the function that was given to `setTemplateRenderer`.
    ///
    /// [`generate`]: WasmModel::generate
    pub async fn chat(
        &mut self,
        message: String,
        options: String,
        each: Function,
    ) -> Result<JsValue, JsValue> {
        let options = js::options::<GenerateArgs>(&options)?.options();
        let Holder::Idle(model) = &self.holder else { return Err(js::error(busy())) };
        if self.chat.is_none() {
            self.chat = Some(ChatSession::new(model, &self.tokenizer).map_err(js::error)?);
        }
        let Some(session) = &mut self.chat else { return Err(js::error(busy())) };
        let turn = session.ask(model, &self.tokenizer, &message, options);
        let mut turn = turn.map_err(js::error)?;
        while let Some(token) = turn.next().await.map_err(js::error)? {
            if !tell(&each, &token)? {
                break;
            }
        }
        js::object(&Generated {
            prompt_tokens: turn.prompt_tokens(),
            tokens: turn.ids(),
            finish: turn.finish().map(|finish| finish.name()),
            turns_dropped: turn.turns_dropped(),
            ..Generated::timed(turn.timings())
        })
    }

    /// Forgets the conversation.
    #[wasm_bindgen(js_name = resetChat)]
    pub fn reset_chat(&mut self) {
        self.chat = None;
    }
}

/// Tells JavaScript a token; whether it wants another.
fn tell(each: &Function, token: &Token) -> Result<bool, JsValue> {
    let out = js::object(&TokenOut { id: token.id, text: &token.text })?;
    Ok(!each.call1(&JsValue::NULL, &out)?.is_falsy())
}
