//! Prompts that a run answers at each evaluation: `samples.jsonl` in its folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Error;
use crate::format::{Special, Tokenizer};
use crate::generate::{ChatFormat, Finish, GenerateOptions, Generator, PromptFormat, prompt_ids};
use crate::train::run::Run;

/// Tokens of an answer: enough to see where a run goes.
const MAX_NEW_TOKENS: usize = 64;

/// The prompts, and where answers go.
pub(super) struct Samples {
    prompts: Vec<String>,
    file: PathBuf,
    tokenizer: Tokenizer,
}

impl Samples {
    /// Reads the prompts, one a line, for a run in `out`.
    pub(super) fn read(file: &str, out: &Path, tokenizer: Tokenizer) -> Result<Samples> {
        let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let prompts = Vec::from_iter(lines.map(str::to_owned));
        if prompts.is_empty() {
            return Err(Error::invalid(file, "has no prompt; write one a line").into());
        }
        Ok(Samples { prompts, file: out.join("samples.jsonl"), tokenizer })
    }

    /// Positions that the longest prompt and its answer take; of a template's words 64 more.
    pub(super) fn positions(&self) -> Result<usize> {
        let mut longest = 0;
        for prompt in &self.prompts {
            longest = longest.max(self.ids(prompt)?.0.len());
            longest = longest.max(self.tokenizer.encode(prompt, Special::With)?.len());
        }
        Ok(longest.max(1) + MAX_NEW_TOKENS)
    }

    /// A prompt as a message where the model has a template, else as a text.
    fn ids(&self, prompt: &str) -> Result<(Vec<u32>, Option<u32>)> {
        if self.tokenizer.chat_template_text().is_none() {
            return Ok((self.tokenizer.encode(prompt, Special::With)?, None));
        }
        let chat = ChatFormat::new(&self.tokenizer)?;
        Ok((chat.message_ids(&self.tokenizer, None, prompt)?, chat.end_token()))
    }

    /// Forgets answers behind the step that a run goes on from.
    pub(super) fn cut_behind(&self, step: u64) -> Result<()> {
        let Ok(text) = std::fs::read_to_string(&self.file) else { return Ok(()) };
        let of_step = |line: &&str| {
            let line: Option<Value> = serde_json::from_str(line).ok();
            line.and_then(|line| line["step"].as_u64()).is_some_and(|of| of <= step)
        };
        let kept: String = text.lines().filter(of_step).map(|line| format!("{line}\n")).collect();
        Ok(crate::train::durable::write_file(&self.file, kept.as_bytes())?)
    }

    /// Answers all with the adapter as it is, a line of words each.
    pub(super) async fn answer(&self, run: &Run) -> Result<Vec<String>> {
        let mut said = Vec::new();
        let model = run.model();
        let note = run.note();
        let format = PromptFormat::of(Some(&note), &self.tokenizer);
        let place = || self.file.display().to_string();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).open(&self.file).with_context(place)?;
        for prompt in &self.prompts {
            let (ids, end) = match format {
                PromptFormat::Chat => self.ids(prompt)?,
                PromptFormat::Text => (prompt_ids(model, &self.tokenizer, prompt)?, None),
            };
            let options = GenerateOptions {
                max_new_tokens: MAX_NEW_TOKENS,
                end_tokens: end.into_iter().collect(),
                ..GenerateOptions::default()
            };
            let mut generator = Generator::from_ids(model, &self.tokenizer, ids, options)?;
            let mut text = String::new();
            while let Some(token) = generator.next().await? {
                text.push_str(&token.text);
            }
            let finish = generator.finish().map(Finish::name);
            let line =
                json!({"step": run.step(), "prompt": prompt, "text": text, "finish": finish});
            writeln!(file, "{line}").with_context(place)?;
            said.push(format!("  {prompt:?} → {text:?}"));
        }
        Ok(said)
    }
}
