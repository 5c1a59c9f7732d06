//! Settings by name: the course's two runs, and one for the embedded model.

use crate::data::{LossOn, NumberLoss, NumberWidth};
use crate::train::config::{Optim, Quant, SaveSteps, TargetModules, TrainConfig};
use crate::train::schedule::SchedulerType;

/// The names.
pub const PRESETS: [&str; 4] = ["pricer-lite", "pricer-full", "pricer", "pricer-demo"];

/// What both runs of the course share.
///
/// The course gives `batch_size` 32 (lite) and 256 (full) without accumulation; here they are made
/// of micro-batches, which is the same step (the loss is normalised over the window). Its
/// `paged_adamw_32bit` is AdamW with 32-bit states: paging moves memory and changes no number.
fn course() -> TrainConfig {
    TrainConfig {
        quant: Quant::Nf4,
        lora_dropout: 0.1,
        max_length: Some(128),
        group_by_length: true,
        learning_rate: 1e-4,
        lr_scheduler_type: SchedulerType::Cosine,
        warmup_ratio: 0.01,
        weight_decay: 0.001,
        max_grad_norm: 0.3,
        optim: Optim::Adamw,
        loss: LossOn::Completion,
        seed: 42,
        ..TrainConfig::default()
    }
}

/// The settings of a preset; `None` for a name that is none.
///
/// `pricer-lite`, `pricer-full`: the course's (week 7, days 3 and 4: values in which the copies of
/// its notebooks agree). `pricer`: ours, for small models and rows with neighbours, with soft
/// targets around the price. `pricer-demo`: short rows and a small model, for minutes on two cores
/// without a GPU.
pub fn preset(name: &str) -> Option<TrainConfig> {
    let config = match name {
        "pricer-lite" => TrainConfig {
            num_train_epochs: 1.0,
            batch_size: 8,
            gradient_accumulation_steps: 4,
            rank: 32,
            lora_alpha: 64.0,
            target_modules: TargetModules::new(["q_proj,k_proj,v_proj,o_proj"]),
            logging_steps: 5,
            eval_steps: Some(100),
            save_steps: SaveSteps::Steps(100),
            ..course()
        },
        "pricer-full" => TrainConfig {
            num_train_epochs: 3.0,
            batch_size: 8,
            gradient_accumulation_steps: 32,
            rank: 256,
            lora_alpha: 512.0,
            target_modules: TargetModules::all_linear(),
            logging_steps: 10,
            eval_steps: Some(200),
            save_steps: SaveSteps::Steps(200),
            ..course()
        },
        "pricer" => TrainConfig {
            num_train_epochs: 1.0,
            batch_size: 8,
            gradient_accumulation_steps: 1,
            rank: 16,
            lora_alpha: 32.0,
            lora_dropout: 0.0,
            target_modules: TargetModules::all_linear(),
            max_length: Some(256),
            learning_rate: 5e-4,
            warmup_ratio: 0.03,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            number_loss: NumberLoss::Soft,
            logging_steps: 10,
            save_steps: SaveSteps::Steps(100),
            ..course()
        },
        "pricer-demo" => TrainConfig {
            num_train_epochs: 3.0,
            batch_size: 8,
            gradient_accumulation_steps: 1,
            rank: 16,
            lora_alpha: 32.0,
            lora_dropout: 0.0,
            target_modules: TargetModules::all_linear(),
            learning_rate: 2e-3,
            warmup_ratio: 0.03,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            number_loss: NumberLoss::Soft,
            number_weight: 1.0,
            number_width: NumberWidth::Fixed(60.0),
            logging_steps: 20,
            save_steps: SaveSteps::Epoch,
            ..course()
        },
        _ => return None,
    };
    Some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_courses() {
        for name in PRESETS {
            assert!(preset(name).is_some(), "{name}");
        }
        assert!(preset("price").is_none());
        for (name, batch, rank, alpha, modules, epochs) in
            [("pricer-lite", 32, 32, 64.0, 4, 1.0), ("pricer-full", 256, 256, 512.0, 7, 3.0)]
        {
            let c = preset(name).unwrap();
            assert_eq!(c.batch_size * c.gradient_accumulation_steps, batch);
            assert_eq!((c.rank, c.lora_alpha, c.lora_dropout), (rank, alpha, 0.1));
            assert_eq!((c.target_modules.names().len(), c.num_train_epochs), (modules, epochs));
            assert_eq!((c.max_length, c.learning_rate, c.max_grad_norm), (Some(128), 1e-4, 0.3));
            assert_eq!((c.weight_decay, c.warmup_ratio), (0.001, 0.01));
            assert!(c.group_by_length && c.lr_scheduler_type == SchedulerType::Cosine);
        }
    }
}
