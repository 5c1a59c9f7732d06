//! The learning rate of each step, in f64, with the arithmetic of transformers' schedulers.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the learning rate moves after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerType {
    /// It stays. (transformers calls this `constant_with_warmup`; its own `constant` ignores the
    /// warm-up.)
    #[serde(alias = "constant_with_warmup")]
    Constant,
    /// It falls to 0 on a line.
    #[default]
    Linear,
    /// It falls to 0 on half a cosine.
    Cosine,
}

/// The learning rate of step k (from 0) of N, with w warm-up steps: `lr · lambda(k)`,
///
/// | | lambda(k) |
/// |---|---|
/// | k < w | k / w (so the first step has learning rate 0) |
/// | constant | 1 |
/// | linear | (N - k) / (N - w) |
/// | cosine | ½ (1 + cos(π (k - w) / (N - w))) |
///
/// never below 0. **Source** transformers `optimization.py`, `get_*_schedule*`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The shape.
    pub kind: SchedulerType,
    /// The peak.
    pub learning_rate: f64,
    /// w: steps of warm-up.
    pub warmup_steps: u64,
    /// N: steps of the run.
    pub total_steps: u64,
}

impl Schedule {
    /// Checks the numbers.
    ///
    /// **Errors** [`Error::Invalid`] for no steps, more warm-up than steps, or a learning rate that
    /// is negative or not finite.
    pub fn new(
        kind: SchedulerType,
        learning_rate: f64,
        warmup_steps: u64,
        total_steps: u64,
    ) -> Result<Schedule> {
        if total_steps == 0 {
            return Err(Error::invalid(
                "schedule",
                "the run has 0 steps; raise ‹max_steps› or ‹num_train_epochs›",
            ));
        }
        if warmup_steps > total_steps {
            let why =
                format!("{warmup_steps} is more than the {total_steps} steps of the run; lower it");
            return Err(Error::invalid("warmup_steps", why));
        }
        if !learning_rate.is_finite() || learning_rate < 0.0 {
            let why = format!("{learning_rate} is not a finite number from 0; try 2e-4");
            return Err(Error::invalid("learning_rate", why));
        }
        Ok(Schedule { kind, learning_rate, warmup_steps, total_steps })
    }

    /// The factor on the peak at step `k` (from 0), in [0, 1].
    pub fn lambda(&self, k: u64) -> f64 {
        let (k, w, n) = (k as f64, self.warmup_steps as f64, self.total_steps as f64);
        if k < w {
            return k / w.max(1.0);
        }
        match self.kind {
            SchedulerType::Constant => 1.0,
            SchedulerType::Linear => ((n - k) / (n - w).max(1.0)).max(0.0),
            // Past the end the cosine would rise again.
            SchedulerType::Cosine if k > n => 0.0,
            SchedulerType::Cosine => 0.5 * (1.0 + (PI * ((k - w) / (n - w).max(1.0))).cos()),
        }
    }

    /// The learning rate of step `k` (from 0).
    pub fn learning_rate(&self, k: u64) -> f64 {
        self.learning_rate * self.lambda(k)
    }
}

/// The warm-up in steps: `steps` if not 0, else ⌈total · ratio⌉.
/// **Source** transformers `TrainingArguments.get_warmup_steps`.
pub fn warmup_steps(steps: u64, ratio: f64, total_steps: u64) -> u64 {
    if steps > 0 {
        return steps;
    }
    (total_steps as f64 * ratio).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use SchedulerType::{Constant, Cosine, Linear};

    #[track_caller]
    fn near(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-15 * 2e-4_f64.max(want), "{got:e} is not {want:e}");
    }

    #[test]
    fn linear_and_cosine_equal_the_recorded_runs() {
        // Recorded from transformers 5.23: lr 2e-4, 3 warm-up steps of 20.
        let cosine = Schedule::new(Cosine, 2e-4, 3, 20).unwrap();
        let want = [
            (0, 0.0),
            (1, 6.666666666666667e-05),
            (2, 0.00013333333333333334),
            (3, 0.0002),
            (4, 0.0001982973099683902),
            (9, 0.00014457383557765386),
            (12, 9.077316405366981e-05),
            (19, 1.7026900316098215e-06),
        ];
        for (k, lr) in want {
            near(cosine.learning_rate(k), lr);
        }
        let linear = Schedule::new(Linear, 2e-4, 3, 20).unwrap();
        let want = [
            (0, 0.0),
            (2, 0.00013333333333333334),
            (3, 0.0002),
            (4, 0.00018823529411764707),
            (5, 0.00017647058823529413),
            (19, 1.1764705882352942e-05),
        ];
        for (k, lr) in want {
            assert_eq!(linear.learning_rate(k), lr, "step {k}");
        }
    }

    #[test]
    fn constant_warms_up_and_stays() {
        let s = Schedule::new(Constant, 1e-3, 4, 10).unwrap();
        let got: Vec<f64> = (0..6).map(|k| s.learning_rate(k)).collect();
        assert_eq!(got, [0.0, 0.00025, 0.0005, 0.00075, 0.001, 0.001]);
    }

    #[test]
    fn edges_have_no_division_by_zero() {
        for kind in [Constant, Linear, Cosine] {
            let all_warmup = Schedule::new(kind, 1.0, 5, 5).unwrap();
            assert_eq!(all_warmup.lambda(4), 0.8);
            assert!((0..100).all(|k| (0.0..=1.0).contains(&all_warmup.lambda(k))));
            let none = Schedule::new(kind, 1.0, 0, 1).unwrap();
            assert_eq!(none.lambda(0), 1.0);
        }
        let s = Schedule::new(Cosine, 1.0, 0, 10).unwrap();
        assert_eq!(s.lambda(15), 0.0);
    }

    #[test]
    fn warmup_from_ratio_rounds_up_and_steps_win() {
        assert_eq!(warmup_steps(0, 0.03, 100), 3);
        assert_eq!(warmup_steps(0, 0.03, 101), 4);
        assert_eq!(warmup_steps(7, 0.5, 100), 7);
        assert_eq!(warmup_steps(0, 0.0, 100), 0);
    }

    #[test]
    fn bad_numbers_are_errors() {
        assert!(Schedule::new(Linear, 1.0, 0, 0).is_err());
        assert!(Schedule::new(Linear, 1.0, 11, 10).is_err());
        assert!(Schedule::new(Linear, -1.0, 0, 10).is_err());
        assert!(Schedule::new(Linear, f64::NAN, 0, 10).is_err());
    }
}
