//! `generate`: one prompt, streamed.

use std::io::Read;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::args::ModelArgs;
use super::session::Session;
use crate::Error;
use crate::format::Special;
use crate::generate::{
    Finish, GenerateOptions, Generator, Sample, SamplerOptions, Timings, prompt_ids, prompt_notes,
    samples,
};
use crate::model::Model;

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// A PEFT folder, perhaps with a name in front; several may be given.
    #[arg(long, value_name = "[NAME=]ADAPTER")]
    adapter: Vec<String>,
    /// The adapter to use by name, or `none`; the first otherwise.
    #[arg(long = "use", value_name = "NAME")]
    use_adapter: Option<String>,
    /// The text to continue; `-` reads it from stdin.
    #[arg(long, value_name = "TEXT|-", allow_hyphen_values = true)]
    prompt: String,
    /// Tokens to generate, at most.
    #[arg(long, value_name = "N", default_value_t = 8)]
    max_new_tokens: usize,
    /// 0 takes the most probable token always.
    #[arg(long, value_name = "X", default_value_t = 0.0)]
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
    /// Answers to the one prompt, made in one batch.
    #[arg(long, value_name = "N", default_value_t = 1)]
    n: usize,
    /// Seed of the choices.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// A text that ends the answer, special tokens as they are written; several may be given.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
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

async fn adapters(session: &Session, model: &mut Model, args: &GenerateArgs) -> Result<()> {
    let mut first = None;
    for text in &args.adapter {
        let (name, path) = named(text);
        if model.adapter_names().any(|known| known == name) {
            let why = format!("two adapters are called `{name}`; give names: --adapter NAME=PATH");
            return Err(Error::invalid("--adapter", why).into());
        }
        session.attach(model, &name, path).await?;
        first.get_or_insert(name);
    }
    match args.use_adapter.as_deref() {
        Some("none") => model.set_adapter(None)?,
        Some(name) => model.set_adapter(Some(name))?,
        None => model.set_adapter(first.as_deref())?,
    }
    Ok(())
}

pub(super) async fn run(session: &Session, args: &GenerateArgs) -> Result<()> {
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let prompt = match args.prompt.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("reading the prompt from stdin")?;
            text
        }
        text => text.to_owned(),
    };
    let positions = tokenizer.encode(&prompt, Special::With)?.len().max(1);
    let positions = positions.saturating_add(args.max_new_tokens);
    let gpu = session.gpu(args.model.inspect, None).await?;
    let mut model = session.model(&gpu, &files, &args.model, positions).await?;
    adapters(session, &mut model, args).await?;
    for note in prompt_notes(&model, &tokenizer, &prompt)? {
        session.printer.note(note);
    }
    let options = GenerateOptions {
        max_new_tokens: args.max_new_tokens,
        sampler: SamplerOptions {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            repetition_penalty: args.repetition_penalty,
            seed: args.seed,
        },
        stop: args.stop.clone(),
        end_tokens: Vec::new(),
    };
    let ids = prompt_ids(&model, &tokenizer, &prompt)?;
    let (answers, timings) = match args.n {
        1 => {
            let generator = Generator::from_ids(&model, &tokenizer, ids.clone(), options)?;
            streamed(session, generator).await?
        }
        n => {
            let (answers, timings) = samples(&model, &tokenizer, &ids, &options, n).await?;
            for answer in &answers {
                session.printer.line(&answer.text)?;
            }
            (answers, timings)
        }
    };
    for (i, answer) in answers.iter().enumerate() {
        session.printer.object(&json!({
            "sample": i,
            "text": answer.text,
            "tokens": answer.ids.len(),
            "ids": answer.ids,
            "finish": answer.finish.name(),
            "prompt_tokens": ids.len(),
            "prefill_seconds": timings.prefill_seconds,
            "decode_tokens_per_second": timings.decode_tokens_per_second(),
        }))?;
    }
    session.finish_profile(&gpu, args.model.inspect);
    Ok(())
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
