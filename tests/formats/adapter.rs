//! LoRA adapters as PEFT saves and loads them.

use std::fs;

use wgpu_lora::format::{
    AdapterConfig, AdapterFile, DType, TargetModules, TensorData, to_safetensors,
};

use super::*;

const ADAPTERS: [&str; 3] = ["qv_r8", "all_r16_rslora", "qv_r8_dora"];

fn folder(name: &str) -> PathBuf {
    golden().join("lora").join(name)
}

/// A valid configuration with some text replaced, which must be there.
fn changed(from: &str, to: &str) -> Result<AdapterConfig> {
    let text = fs::read_to_string(folder("qv_r8").join("adapter_config.json")).unwrap();
    assert!(text.contains(from), "{from}");
    AdapterConfig::from_json("adapter_config.json", text.replace(from, to).as_bytes())
}

#[test]
fn adapters_of_peft_are_read() {
    let text = fs::read(golden().join("lora/lora.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    for name in ADAPTERS {
        let adapter = AdapterFile::load(folder(name)).unwrap();
        let (config, want) = (&adapter.config, &json["adapters"][name]);
        assert_eq!(config.rank as u64, want["spec"]["r"].as_u64().unwrap());
        assert_eq!(config.alpha, want["spec"]["lora_alpha"].as_f64().unwrap());
        assert_eq!(config.scaling(), want["scaling"].as_f64().unwrap());
        assert_eq!(config.use_dora, name.ends_with("dora"));
        let numbers: usize = adapter.tensors.values().map(|(_, v)| v.len()).sum();
        assert_eq!(numbers as u64, want["trainable"].as_u64().unwrap());
        let layers = if name.starts_with("qv") { 2 } else { 7 };
        assert_eq!(adapter.modules().len(), 3 * layers);
        assert!(adapter.modules().contains(&"model.layers.0.self_attn.q_proj"));
    }
}

#[test]
fn saving_and_loading_changes_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    for name in ADAPTERS {
        let adapter = AdapterFile::load(folder(name)).unwrap();
        let out = temporary.path().join("new/folder").join(name);
        adapter.save(&out).unwrap();
        assert!(AdapterFile::load(&out).unwrap() == adapter, "{name}");
        let weights = fs::read(out.join("adapter_model.safetensors")).unwrap();
        let theirs = fs::read(folder(name).join("adapter_model.safetensors")).unwrap();
        assert!(weights == theirs, "{name}: PEFT writes these very bytes");
        let (config, bytes) = adapter.to_bytes().unwrap();
        assert!(AdapterFile::from_bytes("memory", &config, bytes).unwrap() == adapter, "{name}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "no temporary file is left");
        // A second time over the first.
        adapter.save(&out).unwrap();
        // What PEFT wrote and we write say the same, and we write no key that PEFT does not know.
        let read = |path: PathBuf| -> serde_json::Value {
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
        };
        let theirs = read(folder(name).join("adapter_config.json"));
        for (key, value) in read(out.join("adapter_config.json")).as_object().unwrap() {
            let same = match (&theirs[key], value) {
                (serde_json::Value::Number(a), serde_json::Value::Number(b)) => {
                    a.as_f64() == b.as_f64()
                }
                (a, b) => a == b,
            };
            assert!(same, "{name}: {key} = {value}, PEFT wrote {}", theirs[key]);
        }
    }
}

#[test]
fn all_linear_is_written_as_seven_names() {
    let config = AdapterConfig::default();
    assert!(config.target_modules.contains("model.layers.3.mlp.down_proj"));
    assert!(!config.target_modules.contains("lm_head"));
    let again = AdapterConfig::from_json("x", config.to_json().as_bytes()).unwrap();
    let TargetModules::Named(names) = &again.target_modules else { panic!("no list") };
    assert_eq!(names.len(), 7);
    assert_eq!(AdapterConfig { target_modules: TargetModules::AllLinear, ..again }, config);
    let all = changed(
        "\"target_modules\": [\n    \"v_proj\",\n    \"q_proj\"\n  ]",
        "\"target_modules\": \"all-linear\"",
    );
    assert_eq!(all.unwrap().target_modules, TargetModules::AllLinear);
}

#[test]
fn targets_are_ends_of_names() {
    let targets = TargetModules::Named(vec!["q_proj".into(), "layers.1.mlp.up_proj".into()]);
    assert!(targets.contains("model.layers.0.self_attn.q_proj"));
    assert!(targets.contains("model.layers.1.mlp.up_proj"));
    assert!(!targets.contains("model.layers.11.mlp.up_proj"));
    assert!(!targets.contains("model.layers.0.self_attn.seq_proj"));
}

#[test]
fn wrong_values_are_refused_with_their_key() {
    let cases = [
        ("\"r\": 8", "\"r\": \"16\"", "remove the quotation marks"),
        ("\"r\": 8", "\"r\": 0", "`r`"),
        ("\"r\": 8", "\"r\": 8.5", "`r`"),
        ("\"lora_alpha\": 16", "\"lora_alpha\": \"16\"", "lora_alpha"),
        ("\"lora_dropout\": 0.0", "\"lora_dropout\": 1.0", "lora_dropout"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 0}", "rank_pattern.q_proj"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_(\": 1}", "regular expression"),
        ("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"q_proj\": \"4\"}", "quotation marks"),
        ("\"layers_to_transform\": null", "\"layers_to_transform\": [1.5]", "layers_to_transform"),
        (
            "\"layers_pattern\": null",
            "\"layers_pattern\": \"layers\"",
            "layers_to_transform beside it",
        ),
        ("\"exclude_modules\": null", "\"exclude_modules\": \"q_(\"", "exclude_modules"),
        ("\"use_dora\": false", "\"use_dora\": \"no\"", "use_dora"),
        ("    \"v_proj\",\n    \"q_proj\"\n", "", "empty list"),
        ("\"v_proj\"", "5", "target_modules"),
        ("{\n", "", "line 1"),
    ];
    for (from, to, word) in cases {
        assert_error(changed(from, to), is_format, &["adapter_config.json", word]);
    }
    let half = changed("\"lora_alpha\": 16", "\"lora_alpha\": 12.5").unwrap();
    assert_eq!(half.scaling(), 12.5 / 8.0);
}

#[test]
fn biases_are_read_where_peft_reads_them() {
    let good = AdapterFile::load(folder("qv_r8")).unwrap();
    let with = |key: &str, shape: &[usize]| {
        let mut file = good.clone();
        file.config.bias = "all";
        let values = vec![1.0; shape.iter().product()];
        file.tensors.insert(format!("base_model.model.{key}"), (shape.to_vec(), values));
        file
    };
    for key in
        ["model.layers.0.self_attn.q_proj.base_layer.bias", "model.layers.0.self_attn.k_proj.bias"]
    {
        let file = with(key, &[4]);
        file.validate("it").unwrap();
        assert_eq!(file.notes(), good.notes());
        let (config, weights) = file.to_bytes().unwrap();
        assert!(AdapterFile::from_bytes("it", &config, weights).unwrap() == file, "{key}");
    }
    // PEFT has no such parameters and leaves them out.
    for key in [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.k_proj.base_layer.bias",
        "lm_head.bias",
    ] {
        assert_error(with(key, &[4]).validate("it"), is_unsupported, &["it", key]);
    }
    let flat = "model.layers.0.self_attn.k_proj.bias";
    assert_error(with(flat, &[2, 2]).validate("it"), is_format, &[flat, "vector"]);
    let mut none = good.clone();
    none.config.bias = "lora_only";
    assert!(none.notes().iter().any(|note| note.contains("lora_only")), "{:?}", none.notes());
}

#[test]
fn what_would_change_the_result_is_refused_by_name() {
    let cases = [
        ("\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\"", "IA3"),
        ("\"task_type\": \"CAUSAL_LM\"", "\"task_type\": \"CHAT\"", "CHAT"),
        ("\"bias\": \"none\"", "\"bias\": \"some\"", "lora_only"),
        ("\"lora_bias\": false", "\"lora_bias\": true", "lora_bias"),
        ("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]", "trained whole"),
        ("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa_niter_4\"", "pissa"),
        ("\"init_lora_weights\": true", "\"init_lora_weights\": \"lora_ga\"", "lora_ga"),
        ("\"init_lora_weights\": true", "\"init_lora_weights\": \"new\"", "new"),
        ("\"kasa_config\": null", "\"kasa_config\": {}", "kasa_config"),
        ("\"arrow_config\": null", "\"arrow_config\": {\"top_k\": 1}", "arrow_config"),
        ("\"target_parameters\": null", "\"target_parameters\": [\"w\"]", "target_parameters"),
    ];
    for (from, to, word) in cases {
        assert_error(changed(from, to), is_unsupported, &["adapter_config.json", word]);
    }
    assert!(changed("\"modules_to_save\": null", "\"modules_to_save\": []").is_ok());
}

#[test]
fn what_changes_nothing_is_named_in_a_line() {
    let notes = |from: &str, to: &str| changed(from, to).unwrap().notes;
    assert!(notes("\"r\": 8", "\"r\": 8").is_empty());
    for (from, to, word) in [
        ("\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", "fan_in_fan_out"),
        ("\"task_type\": \"CAUSAL_LM\"", "\"task_type\": \"SEQ_CLS\"", "SEQ_CLS"),
        ("\"eva_config\": null", "\"eva_config\": {\"rho\": 2}", "eva_config"),
        ("\"bias\": \"none\"", "\"runtime_config\": {\"a\": 1}", "runtime_config"),
        ("\"bias\": \"none\"", "\"unsloth_version\": 1, \"x\": 2", "`unsloth_version`, `x`"),
    ] {
        let all = notes(from, to);
        assert!(all.len() == 1 && all[0].contains(word), "{all:?}");
    }
    // PEFT's own defaults.
    let config = changed("\"r\": 8", "\"rr\": 4").unwrap();
    assert_eq!((config.rank, config.notes.len()), (8, 1));
    let config = changed("\"lora_alpha\": 16", "\"alpha\": 16").unwrap();
    assert_eq!((config.alpha, config.notes.len()), (8.0, 1));
    let config = changed("\"target_modules\"", "\"modules\"").unwrap();
    assert_eq!(config.target_modules.to_string(), "q_proj,v_proj");
}

#[test]
fn patterns_are_pefts() {
    // Not "from the beginning": a key is held against the name to its end.
    let text = "\"rank_pattern\": {\"^model.layers.1\": 3, \"layers.(0|2).self_attn.v_proj\": 5, \"v_proj\": 4}";
    let config = changed("\"rank_pattern\": {}", text).unwrap();
    let rank = |layer: usize, name: &str| {
        config.rank_of(&format!("model.layers.{layer}.self_attn.{name}"))
    };
    assert_eq!([rank(0, "q_proj"), rank(1, "q_proj"), rank(10, "q_proj")], [8, 8, 8]);
    assert_eq!([rank(0, "v_proj"), rank(2, "v_proj"), rank(3, "v_proj")], [5, 5, 4]);
    assert_eq!(rank(3, "other_v_proj"), 8);
    let modules = ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"];
    assert_eq!(
        config.without_effect(&modules),
        ["rank_pattern: `^model.layers.1` matches none of the adapter's layers"]
    );
    assert_eq!(config.scaling_of("model.layers.0.self_attn.v_proj"), 16.0 / 5.0);
    assert_eq!(config.largest_rank(), 8);
    let again = AdapterConfig::from_json("a", config.to_json().as_bytes()).unwrap();
    assert_eq!(again, config);
    // The first in the file's order, which is not that of the alphabet; one that comes twice has
    // the place of the first.
    for (patterns, ranks) in [
        (r#"{"v_proj": 4, "layers.*": 2}"#, [2, 4]),
        (r#"{"layers.*": 2, "v_proj": 4}"#, [2, 2]),
        (r#"{"v_proj": 9, "layers.*": 2, "v_proj": 4}"#, [2, 4]),
        (r#"{"(?!.*q_proj).*": 3, "q.proj": 7}"#, [7, 3]),
        (r#"{"[^v]_proj": 5, ".*(.)\\3n.*": 6}"#, [5, 6]),
    ] {
        let config =
            changed("\"rank_pattern\": {}", &format!("\"rank_pattern\": {patterns}")).unwrap();
        let again = AdapterConfig::from_json("a", config.to_json().as_bytes()).unwrap();
        for config in [&config, &again] {
            assert_eq!(modules.map(|module| config.rank_of(module)), ranks, "{patterns}");
        }
    }
    let one = "\"layers_to_transform\": 1";
    let config = changed("\"layers_to_transform\": null", one).unwrap();
    assert!(config.covers("model.layers.1.self_attn.q_proj"));
    assert!(!config.covers("model.layers.11.self_attn.q_proj"));
    assert!(!config.covers("model.layers.1.self_attn.k_proj"));
}

#[test]
fn targets_are_pefts() {
    const LIST: &str = "\"target_modules\": [\n    \"v_proj\",\n    \"q_proj\"\n  ]";
    let q = |layer: usize| format!("model.layers.{layer}.self_attn.q_proj");
    let covered = |text: &str| {
        let config = changed(LIST, text).unwrap();
        let again = AdapterConfig::from_json("a", config.to_json().as_bytes()).unwrap();
        assert_eq!(again, config, "{text}");
        [0, 1, 2].map(|layer| config.covers(&q(layer)))
    };
    for (text, want) in [
        (r#""target_modules": ".*\\.(q|v)_proj""#, [true, true, true]),
        (r#""target_modules": "(q|v)_proj""#, [false, false, false]),
        (r#""target_modules": "model.layers.[01].(?!mlp).*""#, [true, true, false]),
        (
            r#""target_modules": ["q_proj"], "exclude_modules": ["layers.1.self_attn.q_proj"]"#,
            [true, false, true],
        ),
        (r#""target_modules": ["q_proj"], "exclude_modules": ".*\\.0\\..*""#, [false, true, true]),
        (r#""target_modules": ["q_proj"], "exclude_modules": "q_proj""#, [true, true, true]),
        (
            r#""target_modules": ["q_proj"], "layers_to_transform": [0, 2, 9, -1]"#,
            [true, false, true],
        ),
        (
            r#""target_modules": ["q_proj"], "layers_to_transform": 1, "layers_pattern": "h""#,
            [false, false, false],
        ),
        (
            r#""target_modules": ["q_proj"], "layers_to_transform": 1, "layers_pattern": ["h", "lay.*s"]"#,
            [false, true, false],
        ),
        // Who is listed by the full name is not asked for the number.
        (
            r#""target_modules": ["model.layers.0.self_attn.q_proj", "q_proj"], "layers_to_transform": [2]"#,
            [true, false, true],
        ),
    ] {
        assert_eq!(covered(text), want, "{text}");
    }
    for text in [
        r#""target_modules": "all-linear", "layers_to_transform": [0]"#,
        r#""target_modules": ".*", "layers_pattern": "layers""#,
    ] {
        assert_error(changed(LIST, text), is_format, &["layers_", "no list"]);
    }
    assert_error(changed(LIST, r#""target_modules": "a)|(b""#), is_format, &["target_modules"]);
}

#[test]
fn folders_that_are_no_adapters_say_what_is_missing() {
    let temporary = tempfile::tempdir().unwrap();
    let here = temporary.path();
    assert_error(AdapterFile::load(here.join("none")), is_io, &["none"]);
    assert_error(AdapterFile::load(here), is_format, &["adapter_model.safetensors is missing"]);
    fs::write(here.join("adapter_model.bin"), [0]).unwrap();
    assert_error(AdapterFile::load(here), is_unsupported, &[".bin", "safe_serialization"]);
    let weights = fs::read(folder("qv_r8").join("adapter_model.safetensors")).unwrap();
    fs::write(here.join("adapter_model.safetensors"), &weights).unwrap();
    assert_error(AdapterFile::load(here), is_format, &["adapter_config.json is missing"]);
    fs::copy(folder("qv_r8").join("adapter_config.json"), here.join("adapter_config.json"))
        .unwrap();
    assert!(AdapterFile::load(here).is_ok());
    fs::write(here.join("adapter_model.safetensors"), &weights[..weights.len() - 100]).unwrap();
    assert_error(AdapterFile::load(here), is_format, &["adapter_model.safetensors", "truncated"]);
}

#[test]
fn tensors_must_fit_the_configuration() {
    let good = AdapterFile::load(folder("qv_r8_dora")).unwrap();
    let check = |change: &dyn Fn(&mut AdapterFile), kind, words: &[&str]| {
        let mut adapter = good.clone();
        change(&mut adapter);
        assert_error(adapter.validate("there"), kind, words);
        assert!(adapter.to_bytes().is_err(), "nothing wrong is saved");
    };
    const A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    const B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
    const M: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector";
    good.validate("there").unwrap();
    check(&|a| a.config.rank = 16, is_shape, &["there", "lora_A", "[8, 64]", "r = 16"]);
    check(&|a| drop(a.tensors.remove(A)), is_format, &["pairs"]);
    check(&|a| drop(a.tensors.remove(B)), is_format, &["pairs"]);
    check(&|a| drop(a.tensors.remove(M)), is_format, &["lora_magnitude_vector is missing"]);
    check(&|a| a.config.use_dora = false, is_format, &["use_dora is false"]);
    check(&|a| a.tensors.clear(), is_format, &["no adapter"]);
    check(&|a| a.tensors.get_mut(B).unwrap().0 = vec![8, 64], is_shape, &["lora_B"]);
    check(&|a| a.tensors.get_mut(B).unwrap().1.truncate(9), is_shape, &["lora_B", "9 values"]);
    check(&|a| a.tensors.get_mut(A).unwrap().0 = vec![], is_shape, &["lora_A"]);
    check(&|a| *a.tensors.get_mut(M).unwrap() = (vec![2], vec![1.0; 2]), is_shape, &["[2]"]);
    let other = |a: &mut AdapterFile| {
        a.tensors.insert("base_model.model.lm_head.weight".into(), (vec![1], vec![0.0]));
    };
    check(&other, is_unsupported, &["lm_head", "a whole weight", "merge"]);
    for (name, word) in [
        ("base_model.model.lm_head.lora_A.weight", "LoRA of the head"),
        (
            "base_model.model.model.embed_tokens.lora_embedding_A",
            "LoRA of the head or the embedding",
        ),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "PEFT's names begin with"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias", "lora_bias"),
        (
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.other.weight",
            "called `default`",
        ),
    ] {
        let more = |a: &mut AdapterFile| drop(a.tensors.insert(name.into(), (vec![1], vec![0.0])));
        check(&more, is_unsupported, &[name, word]);
    }
    let elsewhere = |a: &mut AdapterFile| {
        a.config.target_modules = TargetModules::Named(vec!["v_proj".into()]);
    };
    check(&elsewhere, is_format, &["q_proj", "target_modules"]);
}

/// The adapter with its tensors under other names.
fn renamed(name: &str, rename: impl Fn(&str) -> String) -> Result<AdapterFile> {
    let adapter = AdapterFile::load(folder(name)).unwrap();
    let (config, _) = adapter.to_bytes().unwrap();
    let raw: Vec<Vec<u8>> = adapter
        .tensors
        .values()
        .map(|(_, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let names: Vec<String> = adapter.tensors.keys().map(|key| rename(key)).collect();
    let tensors: Vec<_> = (names.iter().zip(adapter.tensors.values()).zip(&raw))
        .map(|((name, (shape, _)), bytes)| TensorData { name, dtype: DType::F32, shape, bytes })
        .collect();
    AdapterFile::from_bytes("renamed", &config, to_safetensors(&tensors, &[]).unwrap())
}

#[test]
fn names_with_the_adapters_name_are_read() {
    let adapter = AdapterFile::load(folder("qv_r8_dora")).unwrap();
    let with = |key: &str, magnitude: &str| match key.strip_suffix(".weight") {
        Some(head) => format!("{head}.default.weight"),
        None => format!("{key}{magnitude}"),
    };
    for magnitude in ["", ".weight", ".default.weight"] {
        assert!(
            renamed("qv_r8_dora", |key| with(key, magnitude)).unwrap() == adapter,
            "{magnitude}"
        );
    }
    let other = renamed("qv_r8", |key| key.replace(".weight", ".mine.weight"));
    assert_error(other, is_unsupported, &["lora_A.mine.weight", "and 11 others", "`default`"]);
    let bare = renamed("qv_r8", |key| key.replace("base_model.model.", ""));
    assert_error(bare, is_unsupported, &["begin with base_model.model."]);
}
