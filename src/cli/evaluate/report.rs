//! What `evaluate` found: report.json, report.html, report.png.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::args::EvaluateArgs;
use super::known::Known;
use super::names::{capital, title};
use super::pictures::{Bar, Leaderboard, Line, Points, Running, Scatter, Sheet};
use super::predictions::Prediction;
use crate::cli::charts::{self, Page};
use crate::pricer::baselines::{Baseline, PUBLISHED};
use crate::pricer::blend::Pricing;
use crate::pricer::metrics::{Guess, Metrics, mean_ci95, running};

/// Guesses of everything that guessed.
pub(super) struct Outcome<'a> {
    pub(super) rows: &'a [Known],
    /// `base`, `fine_tuned`: in order of rows.
    pub(super) models: BTreeMap<&'static str, Vec<Prediction>>,
    pub(super) baselines: Vec<Baseline>,
}

/// One entry of `models` in report.json.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    metrics: Metrics,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    distribution: Option<OfDistribution>,
    /// All metrics of the median of the distribution: the answer.
    #[serde(skip)]
    median: Option<Metrics>,
}

impl Entry {
    /// Metrics of the answer: the median where there is one.
    fn answer(&self) -> &Metrics {
        self.median.as_ref().unwrap_or(&self.metrics)
    }
}

/// Mean absolute errors of guesses from the distribution.
#[derive(Clone, Copy, Debug, Serialize)]
struct OfDistribution {
    mae_median: f64,
    mae_median_ci95: f64,
    mae_mean: f64,
    mae_mode: f64,
    green_median: f64,
    orange_median: f64,
    red_median: f64,
    /// Share of truths between the 10 % and the 90 % quantile, at the report's temperature.
    within_80: f64,
    /// Mean probability of the prices that were looked at.
    mass: f64,
}

/// A difference of absolute errors on the same rows: negative is better.
#[derive(Clone, Copy, Debug, Serialize)]
struct Paired {
    difference: f64,
    ci95: f64,
}

/// report.json.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    n: usize,
    models: BTreeMap<String, Entry>,
    /// Fine-tuned (or base) against everything else: `greedy` and `median` guesses.
    paired: BTreeMap<String, BTreeMap<String, Paired>>,
    /// The course's results on its own data: not to be compared in dollars.
    published_on_another_data_set: BTreeMap<&'static str, f64>,
    model: String,
    adapter: Option<String>,
    data: String,
    train_data: Option<String>,
    validation_data: Option<String>,
    /// Of the fine-tuned model's interval: fitted on validation rows.
    temperature: Option<f64>,
    /// Weight of each guess in the blend.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    blend_weights: BTreeMap<String, f64>,
    price_mass: f64,
    max_new_tokens: usize,
    seconds: f64,
}

fn pairs(outcome: &Outcome, guess: impl Fn(usize) -> f64) -> Vec<Guess> {
    let rows = outcome.rows.iter().enumerate();
    rows.map(|(i, row)| Guess { guess: guess(i), truth: row.truth }).collect()
}

fn mae(guesses: &[Guess]) -> f64 {
    Metrics::of(guesses).mae
}

fn of_model(outcome: &Outcome, all: &[Prediction]) -> Entry {
    let median = Metrics::of(&pairs(outcome, |i| all[i].median));
    let n = all.len().max(1) as f64;
    let inside = |p: &&Prediction| (p.low..=p.high).contains(&outcome.rows[p.row].truth.round());
    Entry {
        metrics: Metrics::of(&pairs(outcome, |i| all[i].guess)),
        distribution: Some(OfDistribution {
            mae_median: median.mae,
            mae_median_ci95: median.mae_ci95,
            mae_mean: mae(&pairs(outcome, |i| all[i].mean)),
            mae_mode: mae(&pairs(outcome, |i| all[i].mode)),
            green_median: median.green,
            orange_median: median.orange,
            red_median: median.red,
            within_80: all.iter().filter(inside).count() as f64 / n,
            mass: all.iter().map(|p| p.mass).sum::<f64>() / n,
        }),
        median: Some(median),
    }
}

impl Outcome<'_> {
    /// The model that the report is about.
    fn main(&self) -> Option<(&'static str, &[Prediction])> {
        let of = |name| self.models.get_key_value(name).map(|(name, all)| (*name, all.as_slice()));
        of("fine_tuned").or_else(|| of("base"))
    }
}

impl Report {
    pub(super) fn of(
        outcome: &Outcome,
        args: &EvaluateArgs,
        pricing: &Pricing,
        seconds: f64,
    ) -> Report {
        let mut models = BTreeMap::new();
        for baseline in &outcome.baselines {
            let metrics = Metrics::of(&pairs(outcome, |i| baseline.guesses[i]));
            models.insert(
                baseline.name.to_owned(),
                Entry { metrics, distribution: None, median: None },
            );
        }
        for (name, all) in &outcome.models {
            models.insert((*name).to_owned(), of_model(outcome, all));
        }
        let mut paired: BTreeMap<String, BTreeMap<String, Paired>> = BTreeMap::new();
        if let Some((main, all)) = outcome.main() {
            let others = outcome.baselines.iter().map(|b| (b.name, b.guesses.clone()));
            let base = outcome.models.get("base").filter(|_| main != "base");
            let base = base.map(|all| ("base", all.iter().map(|p| p.guess).collect::<Vec<f64>>()));
            for (other, guesses) in others.chain(base) {
                let difference = |own: &dyn Fn(usize) -> f64| {
                    let each: Vec<f64> = outcome
                        .rows
                        .iter()
                        .enumerate()
                        .map(|(i, row)| (own(i) - row.truth).abs() - (guesses[i] - row.truth).abs())
                        .collect();
                    let (difference, ci95) = mean_ci95(&each);
                    Paired { difference, ci95 }
                };
                let to = paired.entry(other.to_owned()).or_default();
                to.insert(format!("{main}_greedy"), difference(&|i| all[i].guess));
                to.insert(format!("{main}_median"), difference(&|i| all[i].median));
            }
        }
        let shown = |path: &Path| charts::shown_path(&path.display().to_string());
        Report {
            n: outcome.rows.len(),
            models,
            paired,
            published_on_another_data_set: PUBLISHED.into_iter().collect(),
            model: charts::shown_path(&args.model.name),
            adapter: args.adapter.as_deref().map(charts::shown_path),
            data: shown(&args.data),
            train_data: args.train_data.as_deref().map(shown),
            validation_data: args.validation_data.as_deref().map(shown),
            temperature: pricing.temperature,
            blend_weights: pricing.blend.clone(),
            price_mass: args.price_mass,
            max_new_tokens: args.answer_tokens(),
            seconds,
        }
    }

    /// `(title, MAE, half-width, ours)`, best first.
    fn ranking(&self) -> Vec<(String, f64, f64, bool)> {
        let mut all = Vec::new();
        for (name, entry) in &self.models {
            let m = &entry.metrics;
            match &entry.distribution {
                None => all.push((title(name).to_owned(), m.mae, m.mae_ci95, name == "blend")),
                Some(d) => {
                    all.push((format!("{}, greedy answer", title(name)), m.mae, m.mae_ci95, true));
                    let name = format!("{}, median of distribution", title(name));
                    all.push((name, d.mae_median, d.mae_median_ci95, true));
                }
            }
        }
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        all
    }

    /// The methods that no difference on these products tells from the model's medians, in a
    /// sentence.
    fn ties(&self) -> Option<String> {
        let tied = |(other, all): (&String, &BTreeMap<String, Paired>)| {
            let (_, p) = all.iter().find(|(name, _)| name.ends_with("_median"))?;
            (p.difference.abs() <= p.ci95).then(|| title(other).to_owned())
        };
        let tied: Vec<String> = self.paired.iter().filter_map(tied).collect();
        let main = if self.models.contains_key("fine_tuned") { "fine_tuned" } else { "base" };
        (!tied.is_empty()).then(|| {
            format!(
                "{}, median of distribution, ties with {}: the difference on these products lies within its 95 % interval.",
                capital(title(main)),
                tied.join(", ")
            )
        })
    }

    /// For a terminal.
    pub(super) fn table(&self) -> String {
        let mut out = format!("\nmean absolute error over {} products, $ (± 95 %)\n", self.n);
        for (title, mae, ci, ours) in self.ranking() {
            let mark = if ours { "*" } else { " " };
            out += &format!(" {mark} {title:<46} {mae:>8.2} ± {ci:.2}\n");
        }
        for (name, entry) in &self.models {
            let (m, Some(d)) = (entry.answer(), &entry.distribution) else { continue };
            out += &format!(
                "{} (median): green {:.1} %, orange {:.1} %, red {:.1} %; r² {:.1} %; the truth lies within the 80 % interval in {:.1} %\n",
                title(name),
                100.0 * m.green,
                100.0 * m.orange,
                100.0 * m.red,
                100.0 * m.r2,
                100.0 * d.within_80
            );
        }
        out + &self.ties().unwrap_or_default()
    }
}

fn scatter(
    outcome: &Outcome,
    name: &str,
    all: &[Prediction],
    m: &Metrics,
    largest: f64,
) -> Scatter {
    let point = |p: &Prediction| (outcome.rows[p.row].truth, p.median);
    Scatter {
        title: format!("{}: error ${:.2} ± ${:.2}", capital(title(name)), m.mae, m.mae_ci95),
        points: Points(all.iter().map(point).collect()),
        largest,
    }
}

/// All charts of a report.
struct Pictures {
    scatters: Vec<(String, Scatter)>,
    running: Running,
    leaderboard: Leaderboard,
    published: Leaderboard,
}

fn pictures(outcome: &Outcome, report: &Report) -> Pictures {
    let truths = outcome.rows.iter().map(|row| row.truth);
    let largest = truths.fold(1.0, f64::max);
    let own = |name: &str, all: &[Prediction]| {
        // A wild guess of an untrained model must not squeeze everything else into a corner.
        let metrics = report.models[name].answer();
        scatter(outcome, name, all, metrics, largest * 1.03)
    };
    let scatters = outcome.models.iter().map(|(name, all)| ((*name).to_owned(), own(name, all)));
    let lines = outcome.models.iter().map(|(name, all)| Line {
        name: title(name).to_owned(),
        points: running(
            &pairs(outcome, |i| all[i].median).iter().map(|g| g.error()).collect::<Vec<_>>(),
        ),
        ours: *name == "fine_tuned",
    });
    let bars =
        report.ranking().into_iter().map(|(name, value, ci, ours)| Bar { name, value, ci, ours });
    let mut published: Vec<Bar> = PUBLISHED
        .into_iter()
        .map(|(name, value)| Bar { name: name.into(), value, ci: 0.0, ours: false })
        .collect();
    published.sort_by(|a, b| a.value.total_cmp(&b.value));
    Pictures {
        scatters: scatters.collect(),
        running: Running { lines: lines.collect() },
        leaderboard: Leaderboard {
            title: format!("Mean absolute error on these {} products, $", report.n),
            bars: bars.collect(),
            faded: false,
        },
        published: Leaderboard {
            title: "The course's results on ITS data (another data set), $".into(),
            bars: published,
            faded: true,
        },
    }
}

/// Writes report.json, report.html and report.png, each whole.
pub(super) fn write(out: &Path, outcome: &Outcome, report: &Report) -> Result<()> {
    let pictures = pictures(outcome, report);
    let json = format!("{}\n", serde_json::to_string_pretty(report)?);
    let sheet = Sheet {
        scatters: pictures.scatters.iter().map(|(_, scatter)| scatter).collect(),
        running: &pictures.running,
        leaderboard: &pictures.leaderboard,
        published: &pictures.published,
    };
    let png = charts::png(&sheet, (1500, 1320))?;
    let html = html(outcome, report, &pictures)?;
    charts::write(&out.join("report.html"), html.as_bytes())?;
    charts::write(&out.join("report.png"), &png)?;
    charts::write(&out.join("report.json"), json.as_bytes())
}

/// Before and after in one sentence.
fn lead(report: &Report) -> String {
    let of = |name: &str| report.models.get(name);
    let best = |entry: &Entry| {
        let greedy = entry.metrics.mae;
        entry.distribution.map_or(greedy, |d| d.mae_median.min(greedy))
    };
    let constant = of("constant_median").map_or(String::new(), |entry| {
        format!("; guessing the median price for everything is off by ${:.2}", entry.metrics.mae)
    });
    match (of("base"), of("fine_tuned")) {
        (Some(base), Some(tuned)) => format!(
            "Asked what {} products cost, the model was off by ${:.2} on average after fine-tuning and by ${:.2} before{constant}.",
            report.n,
            best(tuned),
            best(base)
        ),
        (base, tuned) => tuned.or(base).map_or(String::new(), |entry| {
            format!(
                "Asked what {} products cost, the model was off by ${:.2} on average{constant}.",
                report.n,
                best(entry)
            )
        }),
    }
}

fn html(outcome: &Outcome, report: &Report, pictures: &Pictures) -> Result<String> {
    let mut page = Page::new("What does this cost? Guesses of a language model");
    page.paragraph(&lead(report));
    page.svg(&charts::svg(&pictures.leaderboard, (900, pictures.leaderboard.height()))?.0, &[]);
    report.ties().iter().for_each(|sentence| page.paragraph(sentence));
    page.table(&HEAD, &rows(report));
    paired(&mut page, report);
    page.heading("Guess against truth");
    page.paragraph(
        "Each dot is a product: its price to the right, the guess upwards (the median of the model's distribution); on the dashed line a guess is right. \
         Green: off by less than $40 or 20 %; orange: less than $80 or 40 %; red: more. The mouse shows the product.",
    );
    for (name, scatter) in &pictures.scatters {
        let (svg, places) = charts::svg(scatter, (900, 620))?;
        let tip = |p: &Prediction| {
            let row = &outcome.rows[p.row];
            format!(
                "{}\nGuess=${:.0} Actual=${:.2}\n80 % between ${:.0} and ${:.0}; the model would write ${:.2}",
                row.title, p.median, row.truth, p.low, p.high, p.guess
            )
        };
        let tips = places.into_iter().zip(outcome.models[name.as_str()].iter().map(tip));
        page.svg(&svg, &tips.collect::<Vec<_>>());
    }
    page.heading("The error as products come in");
    page.paragraph(
        "Mean absolute error over the first products, with its 95 % interval (1.96 sd / √n).",
    );
    page.svg(&charts::svg(&pictures.running, (900, 380))?.0, &[]);
    page.heading("Published results, on another data set");
    page.note(
        "Mean absolute errors that the course \"The Price is Right\" published for its own products. Dollars cannot be \
         compared with those above: the prices there are others. What can be compared is a model's share of its own constant's error.",
    );
    page.svg(&charts::svg(&pictures.published, (900, pictures.published.height()))?.0, &[]);
    page.note(&format!(
        "Model {}{}. Test rows: the first {} of {}. Baselines fitted on {}. Greedy answers of {} tokens, read by the course's parser; \
         distributions follow {:.0} % of the probability of numbers to its end. {:.0} s.",
        report.model,
        report.adapter.as_ref().map_or(String::new(), |a| format!(" with adapter {a}")),
        report.n, report.data,
        report.train_data.as_deref().unwrap_or("nothing (no --train-data)"),
        report.max_new_tokens, 100.0 * report.price_mass, report.seconds,
    ));
    Ok(page.finish())
}

const HEAD: [&str; 9] =
    ["", "MAE $", "± 95 %", "median error $", "RMSE $", "r² %", "green %", "orange %", "red %"];

fn rows(report: &Report) -> Vec<Vec<String>> {
    let of = |(name, entry): (&String, &Entry)| {
        let greedy = if entry.median.is_some() { ", greedy answer" } else { "" };
        let median = entry.median.map(|m| (format!("{}, median of distribution", title(name)), m));
        [Some((format!("{}{greedy}", title(name)), entry.metrics)), median].into_iter().flatten()
    };
    let mut entries: Vec<(String, Metrics)> = report.models.iter().flat_map(of).collect();
    entries.sort_by(|a, b| a.1.mae.total_cmp(&b.1.mae));
    entries
        .into_iter()
        .map(|(name, m)| {
            let mut row = vec![name];
            row.extend([m.mae, m.mae_ci95, m.median_error, m.rmse].map(|v| format!("{v:.2}")));
            row.extend([m.r2, m.green, m.orange, m.red].map(|v| format!("{:.1}", 100.0 * v)));
            row
        })
        .collect()
}

fn paired(page: &mut Page, report: &Report) {
    if report.paired.is_empty() {
        return;
    }
    page.note("Differences of absolute errors on the same products, with their 95 % intervals; below 0 the model is better.");
    let cell = |p: &Paired| format!("{:+.2} ± {:.2}", p.difference, p.ci95);
    let mut head = vec!["against"];
    let names: Vec<&String> =
        report.paired.values().next().map_or(Vec::new(), |all| all.keys().collect());
    let titles: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
    head.extend(titles.iter().map(String::as_str));
    let row = |(other, all): (&String, &BTreeMap<String, Paired>)| {
        let mut row = vec![title(other).to_owned()];
        row.extend(names.iter().map(|name| all.get(*name).map_or(String::new(), cell)));
        row
    };
    page.table(&head, &report.paired.iter().map(row).collect::<Vec<_>>());
}
