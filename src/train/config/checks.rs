//! Which settings make sense.

use super::{SaveSteps, TrainConfig};
use crate::data::NumberLoss;
use crate::format::Module;
use crate::{Error, Result};

impl TrainConfig {
    /// Checks every number, without looking at any file.
    ///
    /// **Errors** [`Error::Invalid`] naming the first setting that makes no sense, why, and what
    /// would.
    pub fn validate(&self) -> Result<()> {
        crate::data::ColumnMap::new(&self.map)?;
        self.validate_adapter()?;
        self.validate_optimizer()?;
        self.validate_number_loss()?;
        self.validate_run_length()
    }

    /// [`TrainConfig::validate`], and that the settings which name files do name some.
    pub fn validate_with_files(&self) -> Result<()> {
        self.validate()?;
        must(!self.model.is_empty(), "model", || "is not set; give ‹model = FOLDER›".into())?;
        must(!self.data.is_empty(), "data", || "is not set; give ‹data = FILE.jsonl›".into())?;
        let needs_eval = [
            ("eval_steps", self.eval_steps.is_some()),
            ("early_stopping_patience", self.early_stopping_patience.is_some()),
            ("sample_prompts", self.sample_prompts.is_some()),
        ];
        for (name, set) in needs_eval {
            must(!set || self.evaluates(), name, || {
                "needs evaluation rows; give ‹eval_data = FILE.jsonl›, or ‹eval_split = 0.1›".into()
            })?;
        }
        Ok(())
    }

    /// That each of `ranks` processes has a part of an optimizer step.
    ///
    /// **Errors** [`Error::Invalid`] with the two settings that would give it one.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn check_ranks(&self, ranks: usize) -> Result<()> {
        let (batch, steps) = (self.batch_size, self.gradient_accumulation_steps);
        must(steps >= ranks, "gradient_accumulation_steps", || {
            let smaller = (batch * steps).div_ceil(ranks).max(1);
            format!(
                "{steps} micro-batches in an optimizer step for {ranks} ranks; give \
                 ‹gradient_accumulation_steps = {ranks}› with ‹batch_size = {smaller}›, or start \
                 at most {steps} ranks"
            )
        })
    }

    /// [`TrainConfig::validate`], and that no setting says what only a run in a folder does: read
    /// files, evaluate, stop early, save. Whoever holds a run in memory does so between its steps.
    pub(crate) fn validate_in_memory(&self) -> Result<()> {
        self.validate()?;
        let plain = TrainConfig::default();
        let set = [
            ("eval_data", self.eval_data.is_some()),
            ("eval_split", self.eval_split.is_some()),
            ("sample_prompts", self.sample_prompts.is_some()),
            ("map", !self.map.is_empty()),
            ("init_adapter", self.init_adapter.is_some()),
            ("logging_steps", self.logging_steps != plain.logging_steps),
            ("eval_steps", self.eval_steps.is_some()),
            ("save_steps", self.save_steps != plain.save_steps),
            ("save_total_limit", self.save_total_limit.is_some()),
            ("early_stopping_patience", self.early_stopping_patience.is_some()),
            ("template_date", self.template_date.is_some()),
        ];
        set.into_iter().try_for_each(|(name, set)| {
            must(!set, name, || "means nothing to a run in memory; leave it out".into())
        })
    }

    fn validate_adapter(&self) -> Result<()> {
        must(self.rank >= 1, "rank", || "must be at least 1; 16 is usual".into())?;
        must(self.rank <= 1 << 16, "rank", || format!("{} is over 65536; 16 is usual", self.rank))?;
        above_zero("lora_alpha", self.lora_alpha, "twice the rank is usual")?;
        for (pattern, rank) in self.rank_pattern.iter() {
            must((1..=1 << 16).contains(rank), "rank_pattern", || {
                format!("`{}` = {rank}; ranks are from 1 to 65536", pattern.text())
            })?;
            pattern.check().map_err(|why| Error::invalid("rank_pattern", why))?;
        }
        for (pattern, alpha) in self.alpha_pattern.iter() {
            let what = format!("alpha_pattern, `{}`", pattern.text());
            above_zero(&what, *alpha, "twice the rank is usual")?;
            pattern.check().map_err(|why| Error::invalid("alpha_pattern", why))?;
        }
        must(
            self.layers_to_transform.as_ref().is_none_or(|l| !l.is_empty()),
            "layers_to_transform",
            || "is empty; leave it out for all layers".into(),
        )?;
        let p = self.lora_dropout;
        must((0.0..1.0).contains(&p), "lora_dropout", || {
            format!("{p} is not in [0, 1); 0.05 is usual")
        })?;
        let modules = self.target_modules.names();
        let known = || format!("choose from {}, or all-linear", Module::NAMES.join(", "));
        must(!modules.is_empty(), "target_modules", || format!("is empty; {}", known()))?;
        for name in modules {
            must(Module::NAMES.contains(&name), "target_modules", || {
                format!("`{name}` is no linear layer of a Llama block; {}", known())
            })?;
        }
        Ok(())
    }

    fn validate_optimizer(&self) -> Result<()> {
        from_zero("learning_rate", self.learning_rate, "2e-4 is usual")?;
        from_zero("weight_decay", self.weight_decay, "0 switches it off")?;
        from_zero("max_grad_norm", self.max_grad_norm, "0 switches clipping off")?;
        for (name, beta) in [("adam_beta1", self.adam_beta1), ("adam_beta2", self.adam_beta2)] {
            must((0.0..1.0).contains(&beta), name, || format!("{beta} is not in [0, 1)"))?;
        }
        above_zero("adam_epsilon", self.adam_epsilon, "1e-8 is usual")?;
        Ok(())
    }

    fn validate_number_loss(&self) -> Result<()> {
        let (weight, width) = (self.number_weight, self.number_width.value());
        above_zero("number_weight", weight, "0.5 is usual")?;
        must(weight <= 1.0 || self.number_loss != NumberLoss::Soft, "number_weight", || {
            format!("{weight} is over 1: soft targets have that share of the label's place")
        })?;
        above_zero("number_width", width, "30 is usual, or 10%")
    }

    fn validate_run_length(&self) -> Result<()> {
        must(self.batch_size >= 1, "batch_size", || "must be at least 1".into())?;
        let accumulation = self.gradient_accumulation_steps;
        must(accumulation >= 1, "gradient_accumulation_steps", || "must be at least 1".into())?;
        must(!(self.packing && self.group_by_length), "packing", || {
            "cannot be combined with group_by_length: packs have no padding to save".into()
        })?;
        let length = self.row_length();
        must(length >= 2, "max_length", || {
            format!("{length} leaves nothing to predict; must be at least 2")
        })?;
        let counts = [
            ("max_steps", self.max_steps, "leave it out to train for num_train_epochs"),
            ("logging_steps", Some(self.logging_steps), "1 logs every step"),
            ("eval_steps", self.eval_steps, "leave it out to evaluate after each epoch"),
            (
                "early_stopping_patience",
                self.early_stopping_patience,
                "leave it out to never stop early",
            ),
            (
                "save_total_limit",
                self.save_total_limit.map(|n| n as u64),
                "leave it out to keep all",
            ),
        ];
        for (name, count, hint) in counts {
            must(count != Some(0), name, || format!("must be at least 1; {hint}"))?;
        }
        must(self.save_steps != SaveSteps::Steps(0), "save_steps", || {
            "must be at least 1, or epoch".into()
        })?;
        if self.max_steps.is_none() {
            above_zero("num_train_epochs", self.num_train_epochs, "or give ‹max_steps›")?;
        }
        if let Some(share) = self.eval_split {
            must(self.eval_data.is_none(), "eval_split", || {
                "holds out training rows, and ‹eval_data› names others; give one of them".into()
            })?;
            must(share > 0.0 && share < 1.0, "eval_split", || {
                format!("{share} is not between 0 and 1; 0.1 holds out a tenth of the rows")
            })?;
        }
        let ratio = self.warmup_ratio;
        must((0.0..=1.0).contains(&ratio), "warmup_ratio", || format!("{ratio} is not in [0, 1]"))?;
        must(self.warmup_steps <= self.max_steps.unwrap_or(u64::MAX), "warmup_steps", || {
            format!("{} is more than max_steps; lower it", self.warmup_steps)
        })?;
        must(i64::try_from(self.seed).is_ok(), "seed", || format!("{} is over 2^63 - 1", self.seed))
    }
}

fn must(good: bool, what: &str, why: impl FnOnce() -> String) -> Result<()> {
    if good { Ok(()) } else { Err(Error::invalid(what, why())) }
}

fn from_zero(what: &str, x: f64, hint: &str) -> Result<()> {
    let good = x.is_finite() && x >= 0.0;
    must(good, what, || format!("{x} is not a finite number from 0; {hint}"))
}

fn above_zero(what: &str, x: f64, hint: &str) -> Result<()> {
    let good = x.is_finite() && x > 0.0;
    must(good, what, || format!("{x} is not a finite number above 0; {hint}"))
}
