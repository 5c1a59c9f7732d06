//! Every name of the table does what it says.

use super::*;
use crate::train::config::TrainConfig;

/// A value for each setting, other than its default.
fn sample(name: &str) -> Value {
    let text = match name {
        "model" | "eval_data" | "sample_prompts" | "init_adapter" => "\"x\"",
        "data" => "[\"x.jsonl\"]",
        "map" => "[\"text=review\"]",
        "quant" => "\"none\"",
        "target_modules" => "[\"k_proj\"]",
        "rank_pattern" => "[[\"q_proj\", 3]]",
        "alpha_pattern" => "[[\"q_proj\", 3.0]]",
        "layers_to_transform" => "[1]",
        "lr_scheduler_type" => "\"cosine\"",
        "optim" => "\"adamw8bit\"",
        "gradient_checkpointing" => "\"on\"",
        "precision" => "\"mixed\"",
        "loss" => "\"all\"",
        "use_rslora" | "use_dora" | "group_by_length" | "packing" => "true",
        "lora_dropout" | "warmup_ratio" | "learning_rate" | "weight_decay" | "adam_beta1"
        | "adam_beta2" | "adam_epsilon" => "0.25",
        _ => "7",
    };
    format!("x = {text}").parse::<Table>().unwrap().remove("x").unwrap()
}

fn with(name: &str, value: Value) -> crate::Result<TrainConfig> {
    TrainConfig::default().overlay_table([(name.to_owned(), value)].into_iter().collect(), "here")
}

/// The setting is set, to what this program calls it.
fn same(name: &str, ours: &str, value: Value) {
    let config = with(name, value.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(config, with(ours, value).unwrap(), "{name}");
    assert_ne!(config, TrainConfig::default(), "{name}");
}

#[test]
fn every_name_is_taken_translated_or_refused_as_the_table_says() {
    for field in FIELDS {
        let name = field.name;
        for spelling in [name.to_owned(), name.replace('_', "-")] {
            assert!(std::ptr::eq(find(&spelling).unwrap(), field), "{name} twice");
        }
        for (from, to) in field.values {
            let typed = |text: &str| text.parse().unwrap_or_else(|_| Value::from(text));
            let got = with(name, typed(from)).unwrap_or_else(|e| panic!("{name} = {from}: {e}"));
            let settings = to.iter().map(|(name, value)| ((*name).to_owned(), typed(value)));
            let meant = TrainConfig::default().overlay_table(settings.collect(), "here").unwrap();
            assert_eq!(got, meant, "{name} = {from}");
        }
        let why = |value: Value| with(name, value).unwrap_err().to_string();
        match field.here {
            Here::Taken => same(name, name, sample(name)),
            Here::As(ours) => same(name, ours, sample(ours)),
            Here::Flag(flag) => assert!(why("x".into()).contains(&format!("‹{flag}›")), "{name}"),
            Here::PerStep(ours) => {
                // Four micro-batches are a step, where nothing else is said.
                assert_eq!(with(name, 8.into()).unwrap(), with(ours, 2.into()).unwrap());
                assert!(why(7.into()).contains("no whole number of optimizer steps of 4"));
            }
            Here::Refused(because) => {
                let why = why("something else".into());
                assert!(why.contains(name) && why.contains(because), "{name}: {why}");
                // Nothing is asked for.
                assert_eq!(with(name, "".into()).unwrap(), TrainConfig::default(), "{name}");
            }
        }
    }
    assert!(FIELDS.len() > 200, "{} names", FIELDS.len());
}

#[test]
fn a_setting_that_two_names_set_is_refused() {
    let both = TrainConfig::default().overlay("lora_r = 8\nrank = 8", "run.toml").unwrap_err();
    let why = both.to_string();
    assert!(why.contains("lora_r") && why.contains("`rank`"), "{why}");
    // mlx-lm's accumulation is known before its counts are divided.
    let config = TrainConfig::default().overlay("iters = 600\ngrad_accumulation_steps = 2", "x");
    assert_eq!(config.unwrap().max_steps, Some(300));
}
