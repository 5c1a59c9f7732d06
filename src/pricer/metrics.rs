//! The course's metrics: errors, colours, r².

use serde::{Deserialize, Serialize};

/// The course's judgement of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Off by less than $40 or less than 20 %.
    Green,
    /// Off by less than $80 or less than 40 %.
    Orange,
    /// Off by more.
    Red,
}

impl Colour {
    /// **Source** `color_for` in week7/util.py of the course. A truth of 0 is judged by the error
    /// alone.
    pub fn of(guess: f64, truth: f64) -> Colour {
        let error = (guess - truth).abs();
        // 0/0 is NaN and x/0 infinite: neither is below a bound.
        let share = error / truth;
        if error < 40.0 || share < 0.2 {
            Colour::Green
        } else if error < 80.0 || share < 0.4 {
            Colour::Orange
        } else {
            Colour::Red
        }
    }

    /// `green`, `orange` or `red`.
    pub fn name(self) -> &'static str {
        match self {
            Colour::Green => "green",
            Colour::Orange => "orange",
            Colour::Red => "red",
        }
    }
}

/// A guess and what was true, in dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The guess.
    pub guess: f64,
    /// The truth.
    pub truth: f64,
}

impl Guess {
    /// Absolute error.
    pub fn error(self) -> f64 {
        (self.guess - self.truth).abs()
    }
}

/// All metrics of a list of guesses. Shares and r² are fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean absolute error, $.
    pub mae: f64,
    /// Half the width of its 95 % interval: `1.96·sd/√n` with the population's sd.
    pub mae_ci95: f64,
    /// Mean squared error.
    pub mse: f64,
    /// Its root, $.
    pub rmse: f64,
    /// `1 − Σ(guess − truth)² / Σ(truth − mean)²`; 0 if all truths are equal.
    pub r2: f64,
    /// Median absolute error, $.
    pub median_error: f64,
    /// Share of [`Colour::Green`].
    pub green: f64,
    /// Share of [`Colour::Orange`].
    pub orange: f64,
    /// Share of [`Colour::Red`].
    pub red: f64,
}

/// Mean and half the width of its 95 % interval, `1.96·sd/√n`.
pub fn mean_ci95(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.96 * (variance / n).sqrt())
}

/// The median; the mean of the middle two of an even number; 0 of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

impl Metrics {
    /// Metrics of guesses; all 0 for none.
    pub fn of(guesses: &[Guess]) -> Metrics {
        let n = guesses.len().max(1) as f64;
        let errors: Vec<f64> = guesses.iter().map(|g| g.error()).collect();
        let (mae, mae_ci95) = mean_ci95(&errors);
        let squares: f64 = errors.iter().map(|e| e * e).sum();
        let mean = guesses.iter().map(|g| g.truth).sum::<f64>() / n;
        let spread: f64 = guesses.iter().map(|g| (g.truth - mean).powi(2)).sum();
        let share = |colour| {
            let of = guesses.iter().filter(|g| Colour::of(g.guess, g.truth) == colour);
            of.count() as f64 / n
        };
        Metrics {
            mae,
            mae_ci95,
            mse: squares / n,
            rmse: (squares / n).sqrt(),
            r2: if spread > 0.0 { 1.0 - squares / spread } else { 0.0 },
            median_error: median(errors.iter().copied()),
            green: share(Colour::Green),
            orange: share(Colour::Orange),
            red: share(Colour::Red),
        }
    }
}

/// Mean absolute error and its 95 % half-width over the first 1, 2, … guesses: the course's running
/// chart.
pub fn running(errors: &[f64]) -> Vec<(f64, f64)> {
    let (mut sum, mut squares) = (0.0, 0.0);
    let step = |(i, error): (usize, &f64)| {
        let n = (i + 1) as f64;
        sum += error;
        squares += error * error;
        let mean = sum / n;
        let variance = (squares / n - mean * mean).max(0.0);
        (mean, 1.96 * (variance / n).sqrt())
    };
    errors.iter().enumerate().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_the_courses() {
        for (guess, truth, colour) in [
            (39.99, 0.0, Colour::Green),
            (40.0, 0.0, Colour::Orange),
            (80.0, 0.0, Colour::Red),
            (140.0, 100.0, Colour::Orange),
            (460.0, 500.0, Colour::Green),
            (400.01, 500.0, Colour::Green),
            (400.0, 500.0, Colour::Orange),
            (300.0, 500.0, Colour::Red),
            (180.0, 100.0, Colour::Red),
            (179.9, 100.0, Colour::Orange),
            (0.0, 39.0, Colour::Green),
        ] {
            assert_eq!(Colour::of(guess, truth), colour, "{guess} for {truth}");
        }
    }

    #[test]
    fn metrics_by_hand() {
        let guesses = [(10.0, 20.0), (120.0, 100.0), (300.0, 600.0)]
            .map(|(guess, truth)| Guess { guess, truth });
        let m = Metrics::of(&guesses);
        assert_eq!((m.mae, m.median_error), (110.0, 20.0));
        assert!((m.mse - (100.0 + 400.0 + 90_000.0) / 3.0).abs() < 1e-9);
        assert_eq!((m.green, m.orange), (2.0 / 3.0, 0.0));
        let last = running(&guesses.map(|g| g.error()))[2];
        assert!((last.0 - m.mae).abs() < 1e-9 && (last.1 - m.mae_ci95).abs() < 1e-9);
        assert_eq!(Metrics::of(&[]).mae, 0.0);
        assert_eq!(median([3.0, 1.0, 2.0, 10.0]), 2.5);
    }
}
