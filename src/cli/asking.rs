//! What `generate`, `chat` and `logits` share: adapters, how a prompt is taken, how to choose
//! tokens.

use anyhow::Result;
use clap::Args;

use super::printer::Printer;
use super::session::Session;
use crate::Error;
use crate::format::{Special, Tokenizer, TrainingNote};
use crate::generate::{
    ChatFormat, GenerateOptions, PromptFormat, SamplerOptions, prompt_ids, prompt_notes,
};
use crate::model::Model;

/// Tokens of an answer where nothing else is said.
const MAX_NEW_TOKENS: usize = 256;

/// Adapters, of which one answers.
#[derive(Debug, Args)]
pub(super) struct AdapterArgs {
    /// A PEFT folder or a run's, perhaps with a name in front; several may be given.
    #[arg(long, alias = "adapter-path", value_name = "[NAME=]ADAPTER")]
    adapter: Vec<String>,
    /// The adapter to use by name, or `none`; the first otherwise.
    #[arg(long = "use", value_name = "NAME")]
    use_adapter: Option<String>,
}

impl AdapterArgs {
    /// Loads all and makes the one that is used the active one.
    pub(super) async fn attach(&self, session: &Session, model: &mut Model) -> Result<()> {
        let mut first = None;
        for text in &self.adapter {
            let (name, path) = named(text);
            if model.adapter_names().any(|known| known == name) {
                let why =
                    format!("two adapters are called `{name}`; give names: --adapter NAME=PATH");
                return Err(Error::invalid("--adapter", why).into());
            }
            session.attach(model, &name, path).await?;
            first.get_or_insert(name);
        }
        match self.use_adapter.as_deref() {
            Some("none") => model.set_adapter(None)?,
            Some(name) => model.set_adapter(Some(name))?,
            None => model.set_adapter(first.as_deref())?,
        }
        Ok(())
    }

    /// What the adapter that answers was trained on, where it says so.
    pub(super) fn note(&self) -> Result<Option<TrainingNote>> {
        let all = || self.adapter.iter().map(|text| named(text));
        let used = match self.use_adapter.as_deref() {
            Some(name) => all().find(|(known, _)| known == name),
            None => all().next(),
        };
        Ok(used.map(|(_, path)| TrainingNote::load(path)).transpose()?.flatten())
    }
}

/// `NAME=PATH`, or a path whose folder name is the name.
fn named(text: &str) -> (String, &str) {
    if let Some((name, path)) = text.split_once('=')
        && !name.is_empty()
        && !name.contains(['/', '\\'])
    {
        return (name.to_owned(), path);
    }
    let name = std::path::Path::new(text).file_name();
    (name.map_or("default".into(), |n| n.to_string_lossy().into_owned()), text)
}

/// How a prompt is taken: as the adapter was trained, unless something else is said.
#[derive(Debug, Args)]
pub(super) struct PromptArgs {
    /// The prompt is a text that goes on, whatever the adapter was trained on: no chat template.
    #[arg(long)]
    raw: bool,
    /// A system prompt; the prompt is then a user's message.
    #[arg(long, alias = "system-prompt", value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
}

/// A prompt's tokens.
pub(super) struct Prompt {
    text: String,
    pub(super) format: PromptFormat,
    /// Of a chat; a text's are made with the model.
    chat: Option<(Vec<u32>, Option<u32>)>,
    /// Tokens, for a text that is not empty.
    length: usize,
}

impl PromptArgs {
    /// What becomes of a prompt, by the adapter's note; says it where there is a choice.
    pub(super) fn prompt(
        &self,
        printer: &Printer,
        tokenizer: &Tokenizer,
        note: Option<&TrainingNote>,
        text: String,
    ) -> Result<Prompt> {
        let format = match (self.raw, &self.system) {
            (true, _) => PromptFormat::Text,
            (_, Some(_)) => PromptFormat::Chat,
            _ => PromptFormat::of(note, tokenizer),
        };
        let trained = note.and_then(|note| note.rows).map(|rows| rows.name());
        let has_template = tokenizer.chat_template_text().is_some();
        if !self.raw && (has_template || trained.is_some()) {
            let taken = match format {
                PromptFormat::Chat => "a user's message, by the chat template",
                PromptFormat::Text => "a text that goes on",
            };
            let why = match trained {
                Some(rows) => format!("the adapter was trained on {rows}"),
                None => "the model has one; --raw: a text that goes on".into(),
            };
            printer.note(format!("prompt: {taken} ({why})"));
        }
        let chat = match format {
            PromptFormat::Text => None,
            PromptFormat::Chat => {
                let chat = ChatFormat::new(tokenizer)?;
                let ids = chat.message_ids(tokenizer, self.system.as_deref(), &text)?;
                Some((ids, chat.end_token()))
            }
        };
        let length = match &chat {
            Some((ids, _)) => ids.len(),
            None => tokenizer.encode(&text, Special::With)?.len(),
        };
        Ok(Prompt { text, format, chat, length: length.max(1) })
    }
}

impl Prompt {
    /// Tokens of it, at least one.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// `chat` or `text`.
    pub(super) fn format_name(&self) -> &'static str {
        match self.format {
            PromptFormat::Chat => "chat",
            PromptFormat::Text => "text",
        }
    }

    /// The tokens that end an answer to it, beside the model's own.
    pub(super) fn end_tokens(&self) -> Vec<u32> {
        self.chat.iter().filter_map(|(_, end)| *end).collect()
    }

    /// Its ids, if it is a message.
    pub(super) fn chat_ids(&self) -> Option<&[u32]> {
        self.chat.as_ref().map(|(ids, _)| ids.as_slice())
    }

    /// Its ids; says what a person should know about them.
    pub(super) fn ids(
        &self,
        printer: &Printer,
        model: &Model,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>> {
        if let Some(ids) = self.chat_ids() {
            return Ok(ids.to_vec());
        }
        for note in prompt_notes(model, tokenizer, &self.text)? {
            printer.note(note);
        }
        Ok(prompt_ids(model, tokenizer, &self.text)?)
    }
}

/// How to choose tokens, and how many.
#[derive(Debug, Args)]
pub(super) struct SamplingArgs {
    /// Tokens of an answer, at most [default: 256, or to the model's end].
    #[arg(long, alias = "max-tokens", value_name = "N")]
    max_new_tokens: Option<usize>,
    /// 0 takes the most probable token always.
    #[arg(long, alias = "temp", value_name = "X", default_value_t = 0.0)]
    temperature: f64,
    /// Choose among the k most probable tokens.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Choose among the most probable tokens that reach this probability together.
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Above 1, tokens of prompt and answer come again less often; 1.1 is usual.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repetition_penalty: f64,
    /// Seed of the choices.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// A text that ends the answer, special tokens as they are written; several may be given.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl SamplingArgs {
    /// Tokens of an answer that has room for so many, unless more are asked for.
    pub(super) fn max_new_tokens(&self, room: usize) -> usize {
        self.max_new_tokens.unwrap_or(MAX_NEW_TOKENS.min(room.max(1)))
    }

    /// The library's options, checked.
    pub(super) fn options(&self, max_new_tokens: usize) -> Result<GenerateOptions> {
        let sampler = SamplerOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        };
        // What makes no sense is said before a model is loaded.
        crate::generate::Sampler::new(sampler)?;
        let (stop, end_tokens) = (self.stop.clone(), Vec::new());
        Ok(GenerateOptions { max_new_tokens, sampler, stop, end_tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn adapters_have_names() {
        assert_eq!(named("x=a/b"), ("x".into(), "a/b"));
        assert_eq!(named("runs/a=b/adapter"), ("adapter".into(), "runs/a=b/adapter"));
        assert_eq!(named("=x"), ("=x".into(), "=x"));
    }
}
