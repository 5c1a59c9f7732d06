//! Predictions of an evaluation, written as they are made, so that an interrupted one can go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::known::Known;
use crate::Error;
use crate::pricer::blend::INTERVAL;
use crate::pricer::metrics::Colour;
use crate::pricer::{Distribution, Priced};

/// What a model said about one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prediction {
    /// `base` or `fine_tuned`.
    pub(super) model: String,
    /// Number of the row, from 0.
    pub(super) row: usize,
    /// The greedy answer.
    pub(super) text: String,
    /// The course's parser on it.
    pub(super) guess: f64,
    pub(super) median: f64,
    pub(super) mean: f64,
    pub(super) mode: f64,
    /// The 10 % and the 90 % quantile.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Probability of all prices that were looked at.
    pub(super) mass: f64,
    /// All of the distribution, where something is fitted on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prices: Option<Vec<(u32, f64)>>,
}

/// How a distribution becomes a prediction.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Of the interval.
    pub(super) temperature: f64,
    /// Whether all of the distribution is kept.
    pub(super) whole: bool,
}

impl Prediction {
    pub(super) fn new(model: &str, row: usize, priced: &Priced, how: How) -> Prediction {
        let d = &priced.distribution;
        let interval = d.tempered(how.temperature);
        Prediction {
            model: model.into(),
            row,
            text: priced.text.clone(),
            guess: priced.guess,
            median: d.median(),
            mean: d.mean(),
            mode: d.mode(),
            low: interval.quantile(INTERVAL.0),
            high: interval.quantile(INTERVAL.1),
            mass: d.mass(),
            prices: how.whole.then(|| d.prices().to_vec()),
        }
    }

    /// The distribution, where it was kept.
    pub(super) fn distribution(&self) -> Distribution {
        Distribution::new(self.prices.clone().unwrap_or_default())
    }

    /// With what was true, for programs.
    pub(super) fn line(&self, row: &Known) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["truth"] = row.truth.into();
        value["error"] = (self.guess - row.truth).abs().into();
        value["error_median"] = (self.median - row.truth).abs().into();
        value["colour"] = Colour::of(self.median, row.truth).name().into();
        value["title"] = row.title.clone().into();
        value
    }
}

/// What predictions are made of, by name: values, or hashes of larger things.
pub(super) type Basis = BTreeMap<String, String>;

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Header {
    basis: Basis,
}

/// `.NAME.jsonl.partial`, which becomes `NAME.jsonl` at the end.
pub(super) struct Predictions {
    partial: PathBuf,
    path: PathBuf,
    file: File,
    made: Vec<Prediction>,
    note: Option<String>,
}

impl Predictions {
    /// Reads what an interrupted evaluation on the same basis left in `out`, or begins anew.
    pub(super) fn open(
        out: &Path,
        name: &str,
        basis: &Basis,
        restart: bool,
    ) -> Result<Predictions> {
        let path = out.join(format!("{name}.jsonl"));
        let partial = out.join(format!(".{name}.jsonl.partial"));
        let (mut made, mut note) = (Vec::new(), None);
        if !restart
            && let Some((before, left)) = read(&partial).filter(|(_, left)| !left.is_empty())
        {
            let other = |name: &&String| before.get(*name) != basis.get(*name);
            let others: BTreeSet<&String> =
                before.keys().chain(basis.keys()).filter(other).collect();
            let others: Vec<&str> = others.into_iter().map(String::as_str).collect();
            let n = left.len();
            note = Some(match others.is_empty() {
                true => format!("going on after {n} predictions of an interrupted evaluation"),
                false => format!(
                    "starting over: the {n} predictions of an interrupted evaluation are of other {}",
                    others.join(", ")
                ),
            });
            made = if others.is_empty() { left } else { Vec::new() };
        }
        // Written anew: the last line may be half a line.
        let mut file = File::create(&partial).map_err(Error::io(&partial))?;
        let header = serde_json::to_string(&Header { basis: basis.clone() })?;
        writeln!(file, "{header}").map_err(Error::io(&partial))?;
        let mut predictions = Predictions { partial, path, file, made: Vec::new(), note };
        predictions.add(&made)?;
        Ok(predictions)
    }

    /// What became of those of an interrupted evaluation, if there were any.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Those of one model, by row.
    pub(super) fn of(&self, model: &str) -> BTreeMap<usize, Prediction> {
        let own = self.made.iter().filter(|p| p.model == model);
        own.map(|p| (p.row, p.clone())).collect()
    }

    pub(super) fn add(&mut self, made: &[Prediction]) -> Result<()> {
        let mut text = String::new();
        for prediction in made {
            text += &serde_json::to_string(prediction)?;
            text.push('\n');
        }
        self.file.write_all(text.as_bytes()).map_err(Error::io(&self.partial))?;
        self.made.extend_from_slice(made);
        Ok(())
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.partial))?;
        Ok(std::fs::rename(&self.partial, &self.path).map_err(Error::io(&self.path))?)
    }
}

/// The basis and the whole lines behind it; none if there is no such file. An earlier version's has
/// no basis.
fn read(path: &Path) -> Option<(Basis, Vec<Prediction>)> {
    let mut lines = BufReader::new(File::open(path).ok()?).lines();
    let header = serde_json::from_str::<Header>(&lines.next()?.ok()?);
    let basis = header.map(|header| header.basis).unwrap_or_default();
    Some((basis, lines.map_while(|line| serde_json::from_str(&line.ok()?).ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(row: usize) -> Prediction {
        let priced = Priced { text: format!("{row}.00"), ..Default::default() };
        Prediction::new("base", row, &priced, How { temperature: 1.0, whole: false })
    }

    #[test]
    fn an_interrupted_evaluation_goes_on_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = |weights: &str, restart| {
            let basis = [("base weights", weights), ("rows", "8")];
            let basis = basis.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            Predictions::open(dir.path(), "predictions", &basis, restart).unwrap()
        };
        let mut first = open("a", false);
        assert_eq!(first.note(), None);
        first.add(&[prediction(0), prediction(3)]).unwrap();
        drop(first);
        let partial = dir.path().join(".predictions.jsonl.partial");
        let mut text = std::fs::read_to_string(&partial).unwrap();
        text += "{\"model\":\"ba";
        std::fs::write(&partial, text).unwrap();
        let again = open("a", false);
        assert_eq!(again.note(), Some("going on after 2 predictions of an interrupted evaluation"));
        assert_eq!(again.of("base").keys().copied().collect::<Vec<_>>(), [0, 3]);
        assert!(
            again.of("fine_tuned").is_empty() && !dir.path().join("predictions.jsonl").exists()
        );
        again.finish().unwrap();
        assert!(dir.path().join("predictions.jsonl").exists() && !partial.exists());
        // What is finished is not gone on with, nor what was made of something else, nor what is
        // unwanted.
        open("a", false).add(&[prediction(1)]).unwrap();
        let other = open("b", false);
        assert!(other.of("base").is_empty());
        let why = "starting over: the 1 predictions of an interrupted evaluation are of other base weights";
        assert_eq!(other.note(), Some(why));
        drop(other);
        open("b", false).add(&[prediction(1)]).unwrap();
        let restarted = open("b", true);
        assert!(restarted.of("base").is_empty() && restarted.note().is_none());
        // What an earlier version left says of nothing what it is of.
        let line = serde_json::to_string(&prediction(1)).unwrap();
        std::fs::write(&partial, format!("{{\"fingerprint\":\"b\"}}\n{line}\n")).unwrap();
        let of_before = open("b", false);
        assert!(of_before.of("base").is_empty());
        assert!(of_before.note().unwrap().ends_with("are of other base weights, rows"));
    }
}
