//! `generate`: one prompt, streamed.

use std::io::Read;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::args::ModelArgs;
use super::asking::{AdapterArgs, Prompt, PromptArgs, SamplingArgs};
use super::session::Session;
use crate::format::Tokenizer;
use crate::generate::{Finish, Generator, PromptFormat, Sample, Timings, samples};

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    #[command(flatten)]
    adapters: AdapterArgs,
    /// The text to answer or to continue, as the adapter was trained; `-` reads it from stdin.
    #[arg(short, long, value_name = "TEXT|-", allow_hyphen_values = true)]
    prompt: String,
    #[command(flatten)]
    taken: PromptArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Answers to the one prompt, made in one batch.
    #[arg(long, value_name = "N", default_value_t = 1)]
    n: usize,
    #[command(flatten)]
    model: ModelArgs,
}

pub(super) async fn run(session: &Session, args: &GenerateArgs) -> Result<()> {
    let printer = &session.printer;
    let mut options = args.sampling.options(0)?;
    let note = args.adapters.note()?;
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let text = match args.prompt.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("reading the prompt from stdin")?;
            text
        }
        text => text.to_owned(),
    };
    let prompt = args.taken.prompt(printer, &tokenizer, note.as_ref(), text)?;
    let room = files.config.max_position_embeddings.saturating_sub(prompt.length());
    options.max_new_tokens = args.sampling.max_new_tokens(room);
    options.end_tokens = prompt.end_tokens();
    let positions = prompt.length().saturating_add(options.max_new_tokens);
    let gpu = session.gpu(args.model.inspect, None).await?;
    let mut model = session.model(&gpu, &files, &args.model, positions).await?;
    args.adapters.attach(session, &mut model).await?;
    let ids = prompt.ids(printer, &model, &tokenizer)?;
    let (answers, timings) = match args.n {
        1 => {
            let generator = Generator::from_ids(&model, &tokenizer, ids.clone(), options)?;
            streamed(session, generator).await?
        }
        n => {
            let (answers, timings) = samples(&model, &tokenizer, &ids, &options, n).await?;
            for answer in &answers {
                printer.line(&answer.text)?;
            }
            (answers, timings)
        }
    };
    for (i, answer) in answers.iter().enumerate() {
        printer.object(&json!({
            "sample": i,
            "text": answer.text,
            "tokens": answer.ids.len(),
            "ids": answer.ids,
            "finish": answer.finish.name(),
            "prompt_tokens": ids.len(),
            "prompt_format": prompt.format_name(),
            "prefill_seconds": timings.prefill_seconds,
            "decode_tokens_per_second": timings.decode_tokens_per_second(),
        }))?;
    }
    if answers.iter().all(|answer| answer.text.trim().is_empty()) {
        printer.warn(nothing_came(&answers, &prompt, &tokenizer));
    }
    session.finish_profile(&gpu, args.model.inspect);
    Ok(())
}

/// Why there is no text, and what to try.
fn nothing_came(answers: &[Sample], prompt: &Prompt, tokenizer: &Tokenizer) -> String {
    let why = match answers.first().map(|answer| answer.finish) {
        Some(Finish::Eos) => "the model ended its answer at once",
        Some(Finish::Stop) => "a stop text came at once",
        _ => "only tokens without text came",
    };
    let advice = match prompt.format {
        PromptFormat::Text if tokenizer.chat_template_text().is_some() => {
            "the prompt was taken as a text that goes on; the model has a chat template: leave out --raw, or give --system"
        }
        PromptFormat::Text => "give the prompt as in training, to the last space",
        PromptFormat::Chat => {
            "the prompt was taken as a user's message; --raw takes it as a text that goes on"
        }
    };
    format!("nothing came: {why}; {advice}")
}

/// One answer, shown as it comes.
async fn streamed(
    session: &Session,
    mut generator: Generator<'_>,
) -> Result<(Vec<Sample>, Timings)> {
    let mut text = String::new();
    while let Some(token) = generator.next().await? {
        session.printer.text(&token.text)?;
        text.push_str(&token.text);
    }
    session.printer.text("\n")?;
    let finish = generator.finish().unwrap_or(Finish::Length);
    Ok((vec![Sample { text, ids: generator.ids().to_vec(), finish }], generator.timings()))
}
