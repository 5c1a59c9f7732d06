use super::*;
use crate::format::Module;
use crate::train::config::{Quant, SaveSteps, TargetModules};
use crate::train::schedule::SchedulerType;

fn full() -> TrainConfig {
    TrainConfig {
        model: "models/llama".into(),
        data: vec!["a.jsonl".into(), "b.jsonl".into()],
        eval_data: Some("e.jsonl".into()),
        quant: Quant::None,
        max_steps: Some(100),
        eval_steps: Some(10),
        save_steps: SaveSteps::Epoch,
        save_total_limit: Some(2),
        early_stopping_patience: Some(3),
        learning_rate: 1.0 / 3.0 * 1e-4,
        target_modules: TargetModules::all_linear(),
        lr_scheduler_type: SchedulerType::Cosine,
        ..TrainConfig::default()
    }
}

#[test]
fn toml_goes_both_ways() {
    for config in [TrainConfig::default(), full()] {
        let text = config.to_toml().unwrap();
        assert_eq!(TrainConfig::from_toml(&text, "run.toml").unwrap(), config, "{text}");
        assert!(
            config
                .differences(&TrainConfig::from_toml(&text, "run.toml").unwrap())
                .unwrap()
                .is_empty()
        );
    }
    assert_eq!(TrainConfig::from_toml("", "run.toml").unwrap(), TrainConfig::default());
    assert_ne!(full().fingerprint().unwrap(), TrainConfig::default().fingerprint().unwrap());
}

#[test]
fn people_may_spell_settings_as_flags_and_names_of_peft() {
    let text = "r = 8\nlearning-rate = 1\ntarget_modules = \"v_proj, q_proj\"\nsave-steps = \"epoch\"\noptim = \"adamw8bit\"\nloss = \"all\"";
    let config = TrainConfig::from_toml(text, "x").unwrap();
    assert_eq!((config.rank, config.learning_rate), (8, 1.0));
    assert_eq!(config.target_modules.names(), ["q_proj", "v_proj"]);
    assert_eq!(config.save_steps, SaveSteps::Epoch);
    let all = TrainConfig::from_toml("target_modules = [\"all-linear\"]", "x").unwrap();
    assert_eq!(all.target_modules.names(), Module::NAMES);
    assert!(all.target_modules.contains("up_proj") && !config.target_modules.contains("up_proj"));
}

/// Of patterns the first that matches counts.
#[test]
fn patterns_keep_the_order_of_the_text() {
    let text = "alpha-pattern = {b = 2, a = 1.5}\n[rank_pattern]\nv_proj = 2\n\"layers.*\" = 1";
    let config = TrainConfig::from_toml(text, "x").unwrap();
    let ranks = config.rank_pattern.iter().map(|(p, rank)| (p.text(), *rank));
    assert_eq!(Vec::from_iter(ranks), [("v_proj", 2), ("layers.*", 1)]);
    let alphas = config.alpha_pattern.iter().map(|(p, alpha)| (p.text(), *alpha));
    assert_eq!(Vec::from_iter(alphas), [("b", 2.0), ("a", 1.5)]);
    let written = config.to_toml().unwrap();
    assert_eq!(TrainConfig::from_toml(&written, "x").unwrap(), config, "{written}");
    let other =
        TrainConfig::from_toml("rank_pattern = [[\"layers.*\", 1], [\"v_proj\", 2]]", "x").unwrap();
    assert_ne!(config.fingerprint().unwrap(), other.fingerprint().unwrap());
    let bad = TrainConfig::from_toml("rank_pattern = {\"q_(\" = 1}", "x").unwrap().validate();
    assert!(bad.unwrap_err().to_string().contains("rank_pattern: `q_(`"));
}

#[test]
fn an_overlay_changes_only_what_it_gives() {
    let config = full().overlay("max_steps = 7", "flags").unwrap();
    assert_eq!(config, TrainConfig { max_steps: Some(7), ..full() });
}

#[test]
fn bad_toml_says_where_and_what() {
    for (text, parts) in [
        ("learning_rte = 1", &["run.toml", "`learning_rte`", "did you mean `learning_rate`?"][..]),
        ("banana_split = 1", &["`banana_split`", "known are", "weight_decay"]),
        ("rank = \"many\"", &["`rank`", "expected"]),
        ("rank = -1", &["`rank`"]),
        ("quant = \"int8\"", &["`quant`", "nf4"]),
        ("save_steps = \"week\"", &["`save_steps`", "epoch"]),
        ("target_modules = 3", &["`target_modules`", "all-linear"]),
        ("rank = 3\nrank = ", &["line 2"]),
    ] {
        let message = TrainConfig::from_toml(text, "run.toml").unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} not in {message:?}");
        }
    }
}

#[test]
fn differences_name_settings_and_both_values() {
    let other = TrainConfig { rank: 8, eval_data: None, save_steps: SaveSteps::Steps(1), ..full() };
    let got = full().differences(&other).unwrap();
    let shown: Vec<String> = got.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["eval_data: \"e.jsonl\" → unset", "rank: 16 → 8"]);
}

#[test]
fn defaults_are_valid_and_each_bad_setting_is_named() {
    TrainConfig::default().validate().unwrap();
    full().validate_with_files().unwrap();
    type Change = fn(&mut TrainConfig);
    let bad: [(&str, Change); 27] = [
        ("rank", |c| c.rank = 0),
        ("rank", |c| c.rank = 1 << 20),
        ("lora_alpha", |c| c.lora_alpha = 0.0),
        ("lora_dropout", |c| c.lora_dropout = 1.0),
        ("lora_dropout", |c| c.lora_dropout = f64::NAN),
        ("target_modules", |c| c.target_modules = TargetModules::new(["q_proj", "lm_head"])),
        ("target_modules", |c| c.target_modules = TargetModules::new([""])),
        ("num_train_epochs", |c| c.num_train_epochs = 0.0),
        ("max_steps", |c| c.max_steps = Some(0)),
        ("batch_size", |c| c.batch_size = 0),
        ("gradient_accumulation_steps", |c| c.gradient_accumulation_steps = 0),
        ("max_length", |c| c.max_length = Some(1)),
        ("learning_rate", |c| c.learning_rate = -1e-4),
        ("learning_rate", |c| c.learning_rate = f64::INFINITY),
        ("warmup_ratio", |c| c.warmup_ratio = 1.5),
        ("warmup_steps", |c| (c.warmup_steps, c.max_steps) = (11, Some(10))),
        ("weight_decay", |c| c.weight_decay = -0.1),
        ("max_grad_norm", |c| c.max_grad_norm = -1.0),
        ("adam_beta1", |c| c.adam_beta1 = 1.0),
        ("adam_beta2", |c| c.adam_beta2 = -0.1),
        ("adam_epsilon", |c| c.adam_epsilon = 0.0),
        ("seed", |c| c.seed = u64::MAX),
        ("logging_steps", |c| c.logging_steps = 0),
        ("eval_steps", |c| c.eval_steps = Some(0)),
        ("save_steps", |c| c.save_steps = SaveSteps::Steps(0)),
        ("save_total_limit", |c| c.save_total_limit = Some(0)),
        ("early_stopping_patience", |c| c.early_stopping_patience = Some(0)),
    ];
    for (name, change) in bad {
        let mut config = TrainConfig::default();
        change(&mut config);
        match config.validate() {
            Err(Error::Invalid { what, why }) => {
                assert!(what == name && !why.is_empty(), "{what}: {why}")
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for config in [
        TrainConfig { model: String::new(), ..full() },
        TrainConfig { data: vec![], ..full() },
        TrainConfig { eval_data: None, ..full() },
    ] {
        assert!(config.validate_with_files().is_err());
    }
}

#[test]
fn scales_and_saving() {
    let config = TrainConfig { rank: 16, lora_alpha: 32.0, ..TrainConfig::default() };
    let scale = |config: &TrainConfig| config.adapter_config().scaling_of("q_proj");
    assert_eq!(scale(&config), 2.0);
    assert_eq!(scale(&TrainConfig { use_rslora: true, ..config }), 8.0);
    assert!(SaveSteps::Steps(5).due(10, false) && !SaveSteps::Steps(5).due(11, true));
    assert!(!SaveSteps::Steps(5).due(0, true) && !SaveSteps::Epoch.due(0, true));
    assert!(SaveSteps::Epoch.due(7, true) && !SaveSteps::Epoch.due(7, false));
    assert_eq!("250".parse(), Ok(SaveSteps::Steps(250)));
    assert!("often".parse::<SaveSteps>().is_err());
}

#[test]
fn edit_distance_counts_edits() {
    assert_eq!(
        [
            distance("", "abc"),
            distance("rank", "rank"),
            distance("rank", "rnk"),
            distance("kitten", "sitting")
        ],
        [3, 0, 1, 3]
    );
}

#[test]
fn rows_are_as_long_as_the_model_can_hold_and_1024_at_most() {
    let model = |positions: usize, window: Option<usize>| {
        let json = serde_json::json!({
            "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 64,
            "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
            "vocab_size": 100,
            "rms_norm_eps": 1e-5, "max_position_embeddings": positions, "sliding_window": window,
        });
        crate::format::ModelConfig::from_json("config.json", json.to_string().as_bytes()).unwrap()
    };
    let length = |given, positions, window| {
        let config = TrainConfig { max_length: given, ..TrainConfig::default() };
        config.for_model(&model(positions, window)).max_length
    };
    assert_eq!(TrainConfig::default().row_length(), 1024);
    assert_eq!(length(None, 4096, None), Some(1024));
    assert_eq!(length(None, 512, None), Some(512));
    assert_eq!(length(None, 4096, Some(256)), Some(256));
    assert_eq!(length(Some(2000), 512, Some(256)), Some(2000));
}
