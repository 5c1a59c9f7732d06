//! `generate`: one prompt, streamed.

use std::io::Read;

use anyhow::{Context, Result};
use serde_json::json;

use super::args::GenerateArgs;
use super::model::{Files, Session, attach};
use super::printer::Printer;
use crate::Error;
use crate::generate::{
    GenerateOptions, Generator, SamplerOptions, prompt_ids, prompt_notes, samples,
};
use crate::model::Model;

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

async fn adapters(printer: &Printer, model: &mut Model, args: &GenerateArgs) -> Result<()> {
    let mut first = None;
    for text in &args.adapter {
        let (name, path) = named(text);
        if model.adapter_names().any(|known| known == name) {
            let why = format!("two adapters are called `{name}`; give names: --adapter NAME=PATH");
            return Err(Error::invalid("--adapter", why).into());
        }
        attach(printer, model, &name, path).await?;
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
    let files = Files::open(&args.model)?;
    let tokenizer = files.tokenizer()?;
    let prompt = match args.prompt.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("reading the prompt from stdin")?;
            text
        }
        text => text.to_owned(),
    };
    let positions = tokenizer.encode(&prompt, true)?.len().max(1);
    let positions = positions.saturating_add(args.max_new_tokens);
    let gpu = session.gpu(args.inspect, None).await?;
    let mut model = session.load(&gpu, &files, args.quant.into(), positions).await?;
    model.set_precision(args.precision.into());
    adapters(&session.printer, &mut model, args).await?;
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
    };
    if args.n != 1 {
        let ids = prompt_ids(&model, &tokenizer, &prompt)?;
        let (all, timings) = samples(&model, &tokenizer, &ids, &options, args.n).await?;
        for (i, sample) in all.iter().enumerate() {
            session.printer.text(&format!("{}\n", sample.text))?;
            session.printer.object(&json!({
                "sample": i,
                "text": sample.text,
                "tokens": sample.ids.len(),
                "ids": sample.ids,
                "finish": sample.finish.name(),
                "prompt_tokens": ids.len(),
                "prefill_seconds": timings.prefill_seconds,
                "decode_tokens_per_second": timings.decode_tokens_per_second(),
            }))?;
        }
        session.finish_profile(&gpu, args.inspect);
        return Ok(());
    }
    let mut generator = Generator::new(&model, &tokenizer, &prompt, options)?;
    let mut text = String::new();
    while let Some(token) = generator.next().await? {
        session.printer.text(&token.text)?;
        text.push_str(&token.text);
    }
    session.printer.text("\n")?;
    let (timings, ids) = (generator.timings(), generator.ids());
    session.printer.object(&json!({
        "text": text,
        "tokens": ids.len(),
        "ids": ids,
        "finish": generator.finish().map(|f| f.name()),
        "prompt_tokens": generator.prompt().len(),
        "prefill_seconds": timings.prefill_seconds,
        "decode_tokens_per_second": timings.decode_tokens_per_second(),
    }))?;
    session.finish_profile(&gpu, args.inspect);
    Ok(())
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
