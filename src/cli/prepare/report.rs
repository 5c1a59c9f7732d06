//! What `prepare` says and draws.

use anyhow::Result;
use serde::Serialize;

use crate::cli::charts::{self, Histogram};
use crate::pricer::metrics::median;

/// How values spread.
#[derive(Serialize)]
pub(super) struct Spread {
    mean: f64,
    median: f64,
    p90: f64,
    max: f64,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at =
            |q: f64| sorted.get(((sorted.len() as f64 * q) as usize).min(sorted.len().max(1) - 1));
        Spread {
            mean: values.iter().sum::<f64>() / values.len().max(1) as f64,
            median: median(values.iter().copied()),
            p90: at(0.9).copied().unwrap_or(0.0),
            max: sorted.last().copied().unwrap_or(0.0),
        }
    }
}

/// A row as it is written: the course's two columns.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) prompt: String,
    pub(super) completion: String,
}

pub(super) fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// The numbers and histograms for a terminal.
pub(super) fn told(cutoff: usize, summary: &serde_json::Value, charts: &[Histogram; 2]) -> String {
    let dropped = summary["dropped"].as_object().into_iter().flatten();
    let dropped: Vec<String> = dropped
        .filter(|(_, n)| n.as_u64() != Some(0))
        .map(|(why, n)| format!("{n} {}", why.replace('_', " ")))
        .collect();
    let mut out = format!("{} rows read", summary["rows_read"]);
    if !dropped.is_empty() {
        out += &format!("; left out: {}", dropped.join(", "));
    }
    out += &format!(
        "\n{:.1} % of the summaries are cut to {} tokens (mean {:.1} before); the longest row has {}: \
         train with --max-length {} or more\n",
        100.0 * summary["share_cut"].as_f64().unwrap_or(0.0),
        cutoff,
        summary["tokens"]["mean"].as_f64().unwrap_or(0.0),
        summary["longest_row"],
        summary["longest_row"],
    );
    for chart in charts {
        out += &format!("\n{}\n{}", chart.title, chart.terminal());
    }
    out
}

pub(super) fn html(
    summary: &serde_json::Value,
    charts: &[Histogram; 2],
    examples: &[Row],
) -> Result<String> {
    let mut page = charts::Page::new("Prepared products");
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or(0.0);
    page.paragraph(&format!(
        "{} rows of {} became {} training, {} validation and {} test rows. {:.1} % of the summaries were cut to {} tokens.",
        summary["rows_read"], summary["input"].as_str().unwrap_or_default(), summary["train"], summary["validation"], summary["test"],
        100.0 * number(&summary["share_cut"]), summary["cutoff"],
    ));
    for chart in charts {
        page.svg(&charts::svg(chart, (900, 340))?.0, &[]);
    }
    let row = |name: &str, key: &str| {
        let s = &summary[key];
        let cell = |k: &str| format!("{:.2}", number(&s[k]));
        vec![name.to_owned(), cell("mean"), cell("median"), cell("p90"), cell("max")]
    };
    let head = ["", "mean", "median", "90 % are below", "largest"];
    page.table(&head, &[row("tokens of a summary", "tokens"), row("price, $", "price")]);
    let dropped = summary["dropped"].as_object().into_iter().flatten();
    let dropped: Vec<Vec<String>> =
        dropped.map(|(why, n)| vec![why.replace('_', " "), n.to_string()]).collect();
    page.heading("Rows left out");
    page.table(&["why", "rows"], &dropped);
    page.heading("Examples");
    for example in examples {
        page.example(&example.prompt, &example.completion);
    }
    Ok(page.finish())
}
