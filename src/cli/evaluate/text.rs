//! `evaluate --task text`: any task. The loss on what the rows teach, and answers beside the truth.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args::EvaluateArgs;
use super::judged;
use super::overlap::{number, rouge_l, token_f1};
use super::pictures::{RowLosses, SortedLosses};
use crate::Error;
use crate::cli::charts::{self, Page};
use crate::cli::rows::same_files;
use crate::cli::session::Session;
use crate::data::{ColumnMap, Dataset, DatasetOptions, Row, for_each_record};
use crate::format::{Conversation, Special, Tokenizer};
use crate::generate::{ChatFormat, GenerateOptions, Generator, prompt_ids};
use crate::model::Model;
use crate::pricer::metrics::mean_ci95;
use crate::train::config::TrainConfig;
use crate::train::plan::{evaluation_batch, evaluation_order, pass_of};
use crate::train::ranks::{self, Ranks, agree};

/// Answers that the page shows.
const SHOWN: usize = 20;

/// Pixels of the chart.
const CHART: (u32, u32) = (900, 380);

/// A prompt whose answer is known.
#[derive(Serialize, Deserialize)]
struct Question {
    text: String,
    /// Tokens of the prompt.
    tokens: usize,
    /// Of a chat; a text's ids are made with the model.
    ids: Option<Vec<u32>>,
    truth: String,
}

/// What a model made of the rows. `None` where no row has a prompt, or no expression is given.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    /// Mean NLL of the target tokens, nats.
    loss: f64,
    /// `exp(loss)`.
    perplexity: f64,
    /// Share of answers that are the truth, white space around them apart.
    exact_match: Option<f64>,
    f1: Option<f64>,
    rouge_l: Option<f64>,
    /// Mean absolute error where both have a number.
    number_mae: Option<f64>,
    /// Share of answers in which the expression finds one, of the truths that have one.
    number_found: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct Answer {
    model: &'static str,
    row: usize,
    prompt: String,
    text: String,
    truth: String,
    exact: bool,
    f1: f64,
    rouge_l: f64,
    number: Option<f64>,
    true_number: Option<f64>,
}

/// report.json.
#[derive(Debug, Serialize)]
struct Report {
    task: &'static str,
    n: usize,
    models: BTreeMap<&'static str, Entry>,
    /// Fine-tuned minus base, with half the width of its 95 % interval: below 0 it is better.
    loss_difference: Option<(f64, f64)>,
    model: String,
    adapter: Option<String>,
    data: String,
    max_new_tokens: usize,
}

pub(super) async fn run(session: &Session, args: &EvaluateArgs) -> Result<()> {
    let printer = &session.printer;
    let expression = args.extract.as_deref().map(regex::Regex::new).transpose();
    let expression = expression.map_err(|e| Error::invalid("--extract", e))?;
    let columns = ColumnMap::new(&args.map)?;
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let config = TrainConfig { batch_size: args.batch_size, ..TrainConfig::default() };
    let config = config.for_model(&files.config);
    let max_length = config.row_length();
    let options = DatasetOptions { max_length, columns, ..DatasetOptions::default() };
    let ranks = &*session.ranks;
    same_files(ranks, &[args.data.display().to_string()])?;
    let mut questions = Vec::new();
    let read = || {
        let (rows, asked) = read(&args.data, limit, &options, &tokenizer)?;
        questions = asked;
        anyhow::Ok(rows)
    };
    let rows = ranks::rows(ranks, read, &tokenizer, &options)?;
    let questions = ranks::on_all(ranks, || anyhow::Ok(questions))?;
    printer.note(format!(
        "{} rows, {} target tokens, {} of them with a prompt to answer",
        rows.len(),
        rows.report().target_tokens,
        questions.len()
    ));
    let max_new_tokens = args.answer_tokens();
    let mut positions = rows.report().longest.min(config.row_length());
    for question in &questions {
        positions = positions.max(question.tokens.max(1) + max_new_tokens);
    }
    let first = ranks.rank() == 0;
    let (gpu, mut model) = judged::open(session, args, &files, positions).await?;
    let basis = judged::basis(args, rows.fingerprint(), &tokenizer, &model)?;
    agree(ranks, &gpu.caps().adapter.name, &basis, judged::ADVICE)?;
    let numbered = Vec::from_iter(questions.iter().enumerate());
    let (mut models, mut answers, mut losses) = (BTreeMap::new(), Vec::new(), Vec::new());
    for name in args.judged() {
        model.set_adapter((name == "fine_tuned").then_some(name))?;
        let of_rows = row_losses(ranks, &model, &rows, &config).await?;
        let mut own = Vec::new();
        let bar = printer.bar(questions.len() as u64, "{pos:>6}/{len} {wide_bar} ETA {eta:>4}");
        for round in numbered.chunks(ranks.size()) {
            let made = match round.get(ranks.rank()) {
                Some((_, question)) => answer(&model, &tokenizer, question, max_new_tokens).await?,
                None => String::new(),
            };
            for ((row, question), text) in round.iter().zip(all_texts(ranks, made)?) {
                let of = |text: &str| expression.as_ref().and_then(|e| number(e, text));
                let answer = Answer {
                    model: name,
                    row: *row,
                    prompt: question.text.clone(),
                    exact: text.trim() == question.truth.trim(),
                    f1: token_f1(&text, &question.truth),
                    rouge_l: rouge_l(&text, &question.truth),
                    number: of(&text),
                    true_number: of(&question.truth),
                    truth: question.truth.clone(),
                    text,
                };
                printer.object(&answer)?;
                own.push(answer);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        models.insert(name, entry(&of_rows, &own));
        losses.push((name, of_rows));
        answers.extend(own);
    }
    session.finish_profile(&gpu, args.model.inspect);
    if !first {
        return Ok(());
    }
    let report = Report {
        task: "text",
        n: rows.len(),
        models,
        loss_difference: difference(&losses),
        model: charts::shown_path(&args.model.name),
        adapter: args.adapter.as_deref().map(charts::shown_path),
        data: charts::shown_path(&args.data.display().to_string()),
        max_new_tokens,
    };
    write(&args.out, &report, &losses, &answers)?;
    printer.object(&report)?;
    printer.line(report.table())?;
    printer.line(format!("report: {}", args.out.join("report.html").display()))
}

/// The rows as training reads them, and the prompts among them.
fn read(
    path: &Path,
    limit: usize,
    options: &DatasetOptions,
    tokenizer: &Tokenizer,
) -> Result<(Dataset, Vec<Question>)> {
    let (mut rows, mut questions, mut count) = (Dataset::default(), Vec::new(), 0);
    let mut chat = None;
    let name = path.display().to_string();
    for_each_record(path, |line, record| {
        if count >= limit {
            return Ok(());
        }
        count += 1;
        let at = |why: String| Error::format(&name, format!("line {line}"), why);
        let row = options.columns.row(&record).map_err(at)?;
        rows.push(&row, &name, line, tokenizer, options)?;
        match row {
            Row::PromptCompletion { prompt, completion } => {
                let tokens = tokenizer.encode(&prompt, Special::With)?.len();
                questions.push(Question { text: prompt, tokens, ids: None, truth: completion });
            }
            Row::Text(_) => {}
            Row::Chat(row) => {
                let Some((truth, before)) = row.messages.split_last() else { return Ok(()) };
                let (Some(truth), true) = (truth["content"].as_str(), truth["role"] == "assistant")
                else {
                    return Ok(());
                };
                let format = match &chat {
                    Some(format) => format,
                    None => &*chat.insert(ChatFormat::new(tokenizer)?),
                };
                let ids = format.conversation_ids(
                    tokenizer,
                    &Conversation {
                        tools: row.tools.as_deref(),
                        documents: row.documents.as_deref(),
                        variables: Some(&row.variables),
                        ..Conversation::new(before)
                    },
                )?;
                let last = before.last().and_then(|m| m["content"].as_str()).unwrap_or_default();
                let (text, truth) = (last.to_owned(), truth.to_owned());
                questions.push(Question { text, tokens: ids.len(), ids: Some(ids), truth });
            }
        }
        Ok(())
    })?;
    rows.check()?;
    Ok((rows, questions))
}

/// Summed NLL and targets of each row, whose batches ranks divide.
async fn row_losses(
    ranks: &dyn Ranks,
    model: &Model,
    rows: &Dataset,
    config: &TrainConfig,
) -> Result<Vec<(f64, usize)>> {
    let space = model.workspace(pass_of(rows, None, config), None)?;
    let mut all = Vec::from_iter(rows.targets().map(|targets| (0.0, targets)));
    let order = evaluation_order(rows);
    let batches = Vec::from_iter(order.chunks(config.batch_size));
    let share = ranks::share(batches.len(), ranks.rank(), ranks.size());
    let mut own = Vec::new();
    for some in &batches[share] {
        let batch = evaluation_batch(rows, some)?;
        let mut nll = model.token_nll(&space, &batch).await?.into_iter();
        // Targets of a batch come row by row.
        for &row in &batch.rows {
            let sum: f64 = nll.by_ref().take(all[row].1).map(f64::from).sum();
            own.push((sum, row as u64));
        }
    }
    for (sum, row) in ranks::gather_sums(ranks, &own)? {
        all[row as usize].0 = sum;
    }
    Ok(all)
}

/// What every rank has made, in their order.
fn all_texts(ranks: &dyn Ranks, own: String) -> Result<Vec<String>> {
    let all = ranks.all_gather(own.as_bytes())?.into_iter();
    all.map(|bytes| Ok(String::from_utf8(bytes)?)).collect()
}

async fn answer(
    model: &Model,
    tokenizer: &Tokenizer,
    question: &Question,
    max_new_tokens: usize,
) -> Result<String> {
    let (ids, end) = match &question.ids {
        Some(ids) => (ids.clone(), ChatFormat::new(tokenizer)?.end_token()),
        None => (prompt_ids(model, tokenizer, &question.text)?, None),
    };
    let end_tokens = end.into_iter().collect();
    let options = GenerateOptions { max_new_tokens, end_tokens, ..GenerateOptions::default() };
    let mut generator = Generator::from_ids(model, tokenizer, ids, options)?;
    let mut text = String::new();
    while let Some(token) = generator.next().await? {
        text.push_str(&token.text);
    }
    Ok(text)
}

fn entry(rows: &[(f64, usize)], answers: &[Answer]) -> Entry {
    let sum: f64 = rows.iter().map(|(nll, _)| nll).sum();
    let targets: usize = rows.iter().map(|(_, targets)| targets).sum();
    let loss = sum / targets.max(1) as f64;
    let mean = |values: Vec<f64>| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let of = |value: &dyn Fn(&Answer) -> f64| mean(answers.iter().map(value).collect());
    let known: Vec<&Answer> = answers.iter().filter(|a| a.true_number.is_some()).collect();
    let error = |a: &&Answer| Some((a.number? - a.true_number?).abs());
    let found = |a: &&Answer| f64::from(u8::from(a.number.is_some()));
    Entry {
        loss,
        perplexity: loss.exp(),
        exact_match: of(&|a| f64::from(u8::from(a.exact))),
        f1: of(&|a| a.f1),
        rouge_l: of(&|a| a.rouge_l),
        number_mae: mean(known.iter().filter_map(error).collect()),
        number_found: mean(known.iter().map(found).collect()),
    }
}

/// Fine-tuned minus base, of the rows' mean losses.
fn difference(losses: &[RowSums]) -> Option<(f64, f64)> {
    let [(_, base), (_, tuned)] = losses else { return None };
    let each: Vec<f64> = tuned.iter().zip(base).map(|(a, b)| mean(a) - mean(b)).collect();
    Some(mean_ci95(&each))
}

/// A model, and summed NLL and targets of each row.
type RowSums = (&'static str, Vec<(f64, usize)>);

/// NLL of a row's token, nats.
fn mean((nll, targets): &(f64, usize)) -> f64 {
    nll / (*targets).max(1) as f64
}

fn title(name: &str) -> &str {
    if name == "base" { "base model" } else { "fine-tuned" }
}

const HEAD: [&str; 8] =
    ["", "loss", "perplexity", "exact match %", "F1 %", "ROUGE-L %", "number MAE", "numbers %"];

impl Report {
    fn rows(&self) -> Vec<Vec<String>> {
        let share = |x: Option<f64>| x.map_or("–".into(), |x| format!("{:.1}", 100.0 * x));
        let row = |(name, e): (&&str, &Entry)| {
            vec![
                title(name).to_owned(),
                format!("{:.4}", e.loss),
                format!("{:.3}", e.perplexity),
                share(e.exact_match),
                share(e.f1),
                share(e.rouge_l),
                e.number_mae.map_or("–".into(), |x| format!("{x:.2}")),
                share(e.number_found),
            ]
        };
        self.models.iter().map(row).collect()
    }

    /// For a terminal.
    fn table(&self) -> String {
        let mut out = format!("\n{} rows\n", self.n);
        for row in std::iter::once(HEAD.map(str::to_owned).to_vec()).chain(self.rows()) {
            out += &format!(" {:<12}", row[0]);
            row[1..].iter().for_each(|cell| out += &format!(" {cell:>13}"));
            out.push('\n');
        }
        out + &self.lead()
    }

    /// In one sentence.
    fn lead(&self) -> String {
        let of = |name: &str| self.models.get(name);
        match (of("base"), of("fine_tuned"), self.loss_difference) {
            (Some(base), Some(tuned), Some((difference, ci))) => {
                let verdict = match (difference < -ci, difference > ci) {
                    (true, _) => "fine-tuning helped",
                    (_, true) => "fine-tuning hurt",
                    _ => "the two tie: the difference lies within its 95 % interval",
                };
                format!(
                    "On {} rows that were not trained on the loss went from {:.4} to {:.4} \
                     (perplexity {:.2} to {:.2}; per row {difference:+.4} ± {ci:.4}): {verdict}.",
                    self.n, base.loss, tuned.loss, base.perplexity, tuned.perplexity
                )
            }
            (base, tuned, _) => tuned.or(base).map_or(String::new(), |e| {
                format!(
                    "On {} rows the loss is {:.4}, the perplexity {:.2}.",
                    self.n, e.loss, e.perplexity
                )
            }),
        }
    }
}

/// Writes report.json, report.html, report.png and predictions.jsonl.
fn write(out: &Path, report: &Report, losses: &[RowSums], answers: &[Answer]) -> Result<()> {
    let line = |(name, rows): &RowSums| RowLosses {
        name: title(name).to_owned(),
        losses: rows.iter().map(mean).collect(),
        ours: *name == "fine_tuned",
    };
    let sorted = SortedLosses(losses.iter().map(line).collect());
    let mut page = Page::new("Answers beside the truth");
    page.paragraph(&report.lead());
    page.svg(&charts::svg(&sorted, CHART)?.0, &[]);
    page.table(&HEAD, &report.rows());
    page.heading("Answers");
    let first = |a: &&Answer| a.row < SHOWN;
    let row = |a: &Answer| {
        let exact = if a.exact { "yes" } else { "no" };
        let texts = [&a.prompt, &a.text, &a.truth].map(|text| text.trim().to_owned());
        let mut row = vec![title(a.model).to_owned()];
        row.extend(texts);
        row.push(exact.into());
        row
    };
    let shown: Vec<Vec<String>> = answers.iter().filter(first).map(row).collect();
    page.table(&["", "prompt", "answer", "truth", "exact"], &shown);
    page.note(&format!(
        "Model {}{}; rows of {}. Greedy answers of at most {} tokens. F1: of words as SQuAD compares them; ROUGE-L: F1 of \
         the longest common sequence of words.",
        report.model,
        report.adapter.as_deref().map_or(String::new(), |a| format!(" with adapter {a}")),
        report.data,
        report.max_new_tokens
    ));
    let lines: String = answers.iter().map(|answer| format!("{}\n", json!(answer))).collect();
    charts::write(&out.join("predictions.jsonl"), lines.as_bytes())?;
    charts::write(&out.join("report.png"), &charts::png(&sorted, CHART)?)?;
    charts::write(&out.join("report.html"), page.finish().as_bytes())?;
    let json = format!("{}\n", serde_json::to_string_pretty(report)?);
    charts::write(&out.join("report.json"), json.as_bytes())
}
