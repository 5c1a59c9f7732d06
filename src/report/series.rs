//! The numbers of a run's `metrics.jsonl`.

use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// Steps and numbers of a run, in the file's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// (step, training loss).
    pub loss: Vec<(f64, f64)>,
    /// (step, evaluation loss).
    pub eval_loss: Vec<(f64, f64)>,
    /// (step, learning rate).
    pub learning_rate: Vec<(f64, f64)>,
    /// (step, gradient norm before clipping).
    pub grad_norm: Vec<(f64, f64)>,
    /// Lines that are no JSON object: the end of one that a killed process was writing.
    pub torn: usize,
}

impl Series {
    /// Reads a `metrics.jsonl`.
    ///
    /// **Errors** [`Error::Io`]; [`Error::Format`] if no line holds a step and a number.
    pub fn read(path: &Path) -> Result<Series> {
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        let mut series = Series::default();
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(Error::io(path))?;
            match serde_json::from_slice::<Value>(&line) {
                Ok(value) if value.is_object() => series.push(&value),
                _ if line.is_empty() => {}
                _ => series.torn += 1,
            }
        }
        if series.loss.is_empty() && series.eval_loss.is_empty() {
            return Err(Error::format(
                path.display(),
                "line 1",
                "no line holds a step and its loss",
            ));
        }
        Ok(series)
    }

    /// Takes the numbers of one line; `null` (a number that was not finite) is left out.
    pub fn push(&mut self, line: &Value) {
        let Some(step) = line["step"].as_f64() else { return };
        for (key, to) in [
            ("loss", &mut self.loss),
            ("eval_loss", &mut self.eval_loss),
            ("learning_rate", &mut self.learning_rate),
            ("grad_norm", &mut self.grad_norm),
        ] {
            to.extend(line[key].as_f64().map(|number| (step, number)));
        }
    }
}

/// Exponential moving average over about `span` points, without the pull towards 0 at the
/// beginning.
pub fn smooth(points: &[(f64, f64)], span: f64) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / span.max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mut next = |&(x, y): &(f64, f64)| {
        sum = keep * sum + y;
        weight = keep * weight + 1.0;
        (x, sum / weight)
    };
    points.iter().map(&mut next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_lines_and_nulls_are_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("metrics.jsonl");
        let text = "{\"step\":0,\"eval_loss\":3.0}\n{\"step\":1,\"loss\":2.0,\"grad_norm\":null}\n{\"step\":2,\"lo";
        std::fs::write(&path, text).unwrap();
        let series = Series::read(&path).unwrap();
        assert_eq!(series.loss, [(1.0, 2.0)]);
        assert_eq!(series.eval_loss, [(0.0, 3.0)]);
        assert_eq!((series.grad_norm.len(), series.torn), (0, 1));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(Series::read(&path).unwrap_err().to_string().contains("metrics.jsonl"));
    }

    #[test]
    fn smoothing_keeps_a_constant_and_follows_a_step() {
        let flat: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 2.0)).collect();
        assert!(smooth(&flat, 5.0).iter().all(|(_, y)| (y - 2.0).abs() < 1e-12));
        let step: Vec<(f64, f64)> = (0..40).map(|i| (f64::from(i), f64::from(i / 20))).collect();
        let out = smooth(&step, 5.0);
        assert!(out[20].1 < 0.3 && out[39].1 > 0.98, "{out:?}");
        assert_eq!(smooth(&step, 0.0), step);
    }
}
