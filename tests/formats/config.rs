//! `config.json` and the rotary tables.

use wgpu_lora::format::{DType, Family, ModelConfig, Rope, RopeScaling};

use super::*;

fn parse(text: &str) -> Result<ModelConfig> {
    ModelConfig::from_json("config.json", text.as_bytes())
}

/// A valid file with some text replaced, which must be there.
fn changed(from: &str, to: &str) -> Result<ModelConfig> {
    let text = std::fs::read_to_string(golden().join("model/tiny_b/config.json")).unwrap();
    assert!(text.contains(from), "{from}");
    parse(&text.replace(from, to))
}

#[test]
fn both_layouts_mean_the_same() {
    for model in ["tiny_a", "tiny_b"] {
        let folder = golden().join("model").join(model);
        let read = |file| parse(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap();
        assert_eq!(read("config.json"), read("config_v4.json"), "{model}");
    }
    let config = ModelConfig::from_dir(golden().join("model/tiny_b")).unwrap();
    let expected = ModelConfig {
        family: Family::Llama,
        sliding_window: None,
        hidden_size: 96,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 32,
        intermediate_size: 224,
        vocab_size: 320,
        rms_norm_eps: 1e-5,
        tie_word_embeddings: false,
        max_position_embeddings: 131_072,
        rope: Rope {
            theta: 500_000.0,
            scaling: RopeScaling::Llama3 {
                factor: 32.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192,
            },
        },
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
        pad_token_id: Some(0),
        dtype: Some(DType::F32),
        quantization: None,
        attention_dropout: 0.0,
    };
    assert_eq!(config, expected);
    config.validate().unwrap();
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = parse(
        r#"{"architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":128,"num_hidden_layers":1,"num_attention_heads":4,"vocab_size":100,"rope_scaling":null,"pad_token_id":-1,"eos_token_id":[1,2],"torch_dtype":"auto"}"#,
    )
    .unwrap();
    assert_eq!((config.head_dim, config.num_key_value_heads), (16, 4));
    assert_eq!((config.rms_norm_eps, config.max_position_embeddings), (1e-6, 2048));
    assert_eq!(config.rope, Rope { theta: 10_000.0, scaling: RopeScaling::None });
    assert_eq!((config.bos_token_id, config.pad_token_id, config.dtype), (None, None, None));
    assert_eq!(config.eos_token_ids(), [1, 2]);
    assert!(!config.tie_word_embeddings);
}

#[test]
fn generation_config_decides_the_end_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let config = golden().join("model/tiny_b/config.json");
    std::fs::copy(config, folder.path().join("config.json")).unwrap();
    let eos = || Ok::<_, Error>(ModelConfig::from_dir(folder.path())?.eos_token_ids);
    assert_eq!(eos().unwrap(), [2]);
    let write = |text: &str| std::fs::write(folder.path().join("generation_config.json"), text);
    write(r#"{"eos_token_id":[128001,128008,128009]}"#).unwrap();
    assert_eq!(eos().unwrap(), [128_001, 128_008, 128_009]);
    write(r#"{"do_sample":true}"#).unwrap();
    assert_eq!(eos().unwrap(), [2]);
    write(r#"{"eos_token_id":["2"]}"#).unwrap();
    assert_error(eos(), is_format, &["generation_config.json", "eos_token_id"]);
}

#[test]
fn quantized_configs_are_read_or_refused_by_name() {
    let folder = golden().join("prequant");
    let read = |name| ModelConfig::from_dir(folder.join(name)).unwrap().quantization.unwrap();
    assert!(read("bf16_double").double_quant);
    assert!(!read("f32_single").double_quant);
    let text = std::fs::read_to_string(folder.join("bf16_double/config.json")).unwrap();
    for (from, to, word) in [
        ("\"nf4\"", "\"fp4\"", "fp4"),
        ("\"quant_method\": \"bitsandbytes\"", "\"quant_method\": \"gptq\"", "gptq"),
        (
            "\"load_in_8bit\": false,\n    \"quant",
            "\"load_in_8bit\": true,\n    \"quant",
            "load_in_8bit",
        ),
    ] {
        assert!(text.contains(from));
        assert_error(parse(&text.replace(from, to)), is_unsupported, &[word, "NF4 works"]);
    }
}

#[test]
fn other_models_are_refused_by_name() {
    let cases = [
        ("LlamaForCausalLM", "GemmaForCausalLM", "Qwen2ForCausalLM work"),
        ("\"silu\"", "\"gelu\"", "gelu"),
        ("\"attention_bias\": false", "\"attention_bias\": true", "attention_bias"),
        ("\"mlp_bias\": false", "\"mlp_bias\": true", "mlp_bias"),
        ("\"llama3\"", "\"su\"", "su"),
        ("\"hidden_act\"", "\"is_causal\": false, \"hidden_act\"", "is_causal"),
        ("\"hidden_act\"", "\"per_layer_config\": {\"0\": {}}, \"hidden_act\"", "per_layer_config"),
        (
            "\"hidden_act\"",
            "\"layer_types\": [\"chunked_attention\"], \"hidden_act\"",
            "layer_types",
        ),
        ("\"llama3\"", "\"llama3\", \"full_attention\": {}", "full_attention"),
        ("\"llama3\"", "\"llama3\", \"partial_rotary_factor\": 0.5", "partial_rotary_factor"),
    ];
    for (from, to, word) in cases {
        assert_error(changed(from, to), is_unsupported, &["config.json", word, "work"]);
    }
    let linear = changed("\"llama3\"", "\"linear\"").unwrap();
    assert_eq!(linear.rope.scaling, RopeScaling::Linear { factor: 32.0 });
}

const SMALL: &str = r#""hidden_size":64,"intermediate_size":128,"num_hidden_layers":4,"num_attention_heads":8,"vocab_size":100"#;

/// A small model of a type with more keys.
fn small(model_type: &str, keys: &str) -> Result<ModelConfig> {
    parse(&format!(r#"{{"model_type":"{model_type}",{SMALL}{keys}}}"#))
}

#[test]
fn rope_is_read_wherever_transformers_puts_it() {
    let rope = |keys: &str| small("llama", keys).unwrap().rope;
    for keys in [
        r#","rope_theta":77"#,
        r#","rope_scaling":{"rope_theta":77}"#,
        r#","rope_parameters":{"rope_type":"default","rope_theta":77}"#,
        r#","rope_theta":5,"rope_parameters":{"rope_theta":77}"#,
        r#","rope_theta":77,"rope_scaling":{},"rope_parameters":{"rope_type":"default"}"#,
        // Heads turn whole by `default`, whatever this says.
        r#","rope_theta":77,"rope_scaling":null,"partial_rotary_factor":0.5"#,
    ] {
        assert_eq!(rope(keys), Rope { theta: 77.0, scaling: RopeScaling::None }, "{keys}");
    }
    let linear = Rope { theta: 77.0, scaling: RopeScaling::Linear { factor: 2.0 } };
    for keys in [
        r#","rope_theta":77,"rope_scaling":{"type":"linear","factor":2}"#,
        r#","rope_scaling":{"type":"su","rope_type":"linear","factor":2,"rope_theta":77}"#,
        r#","rope_parameters":{"rope_theta":9},"rope_scaling":{"type":"linear","factor":2,"rope_theta":77}"#,
    ] {
        assert_eq!(rope(keys), linear, "{keys}");
    }
    // The original context: beside the object, in it, or the whole one.
    for (keys, want) in [
        (r#""original_max_position_embeddings":64"#, 64),
        (
            r#""original_max_position_embeddings":64},"original_max_position_embeddings":32,"x":{"#,
            32,
        ),
        (r#""beta_fast":32"#, 2048),
    ] {
        let RopeScaling::Yarn { original_max_position_embeddings, attention_factor, .. } =
            rope(&format!(r#","rope_scaling":{{"type":"yarn","factor":4,{keys}}}"#)).scaling
        else {
            panic!("{keys}")
        };
        assert_eq!(original_max_position_embeddings, want, "{keys}");
        assert!((attention_factor - 1.138_629).abs() < 1e-6, "{attention_factor}");
    }
    // What changes with the length of a sequence holds up to a length.
    let dynamic = small("llama", r#","rope_scaling":{"type":"dynamic","factor":4}"#).unwrap();
    assert_eq!(dynamic.inv_freq(), small("llama", "").unwrap().inv_freq());
}

#[test]
fn keys_that_nobody_reads_are_named_in_one_line() {
    let notes = |kind: &str, keys: &str| -> Vec<String> {
        let text = format!(r#"{{"model_type":"{kind}",{SMALL}{keys}}}"#);
        ModelConfig::from_json_with_notes("c", text.as_bytes()).unwrap().1.into_iter().collect()
    };
    let keys = r#","_name_or_path":"x","unsloth_version":1,"use_cache":true,"rope_scaling":{"rope_type":"default","factor":2},"quantization_config":{"load_in_4bit":true,"bnb_4bit_quant_type":"nf4","more":1}"#;
    let [one] = notes("llama", keys).try_into().unwrap();
    for key in
        ["_name_or_path", "unsloth_version", "rope_scaling.factor", "quantization_config.more"]
    {
        assert!(one.contains(key), "{key}: {one}");
    }
    assert!(!one.contains("use_cache"), "{one}");
    assert!(notes("llama", r#","attention_bias":false"#).is_empty());
    assert!(notes("mistral", r#","attention_bias":true"#)[0].contains("attention_bias"));
    let mut config = small("llama", "").unwrap();
    let asks = br#"{"do_sample":false,"repetition_penalty":1.05,"temperature":1.0}"#;
    let note = config.apply_generation_config("generation_config.json", asks).unwrap().unwrap();
    assert!(note.ends_with(": repetition_penalty = 1.05"), "{note}");
}

#[test]
fn the_type_decides_and_has_defaults_of_its_own() {
    let config = small("mistral", r#","architectures":["LlamaForCausalLM"]"#).unwrap();
    assert_eq!((config.family, config.sliding_window), (Family::Mistral, Some(4096)));
    assert_eq!((config.num_key_value_heads, config.max_position_embeddings), (8, 131_072));
    assert_eq!(small("mistral", r#","num_key_value_heads":null"#).unwrap().num_key_value_heads, 8);
    let many = small("qwen2", r#","num_attention_heads":32"#).unwrap();
    assert_eq!(many.num_key_value_heads, 32);
    let window = |keys: &str| small("qwen2", keys).unwrap().sliding_window;
    assert_eq!(
        window(r#","num_key_value_heads":8,"use_sliding_window":true,"sliding_window":9"#),
        None
    );
    let slides = r#","num_key_value_heads":8,"use_sliding_window":true,"sliding_window":9,"max_window_layers":2"#;
    assert_eq!(window(slides), Some(9));
    let whole =
        r#","layer_types":["full_attention","full_attention","full_attention","full_attention"]"#;
    assert_eq!(window(&format!("{slides}{whole}")), None);
}

#[test]
fn inconsistent_values_are_refused_with_their_key() {
    let cases = [
        ("\"hidden_size\": 96", "\"hidden_size\": 0", "hidden_size"),
        ("\"hidden_size\": 96", "\"hidden_size\": \"96\"", "remove the quotation marks"),
        ("\"hidden_size\": 96", "\"hidden_size\": 1e30", "hidden_size"),
        ("\"hidden_size\": 96", "\"hidden_size\": -96", "hidden_size"),
        ("\"vocab_size\": 320", "\"vocab_sizes\": 320", "`vocab_size`: is missing"),
        ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "num_key_value_heads"),
        ("\"num_attention_heads\": 4", "\"num_attention_heads\": 0", "num_attention_heads"),
        ("\"head_dim\": 32", "\"head_dim\": 31", "head_dim"),
        ("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": -1", "rms_norm_eps"),
        ("\"rope_theta\": 500000.0", "\"rope_theta\": 0", "rope_parameters.rope_theta"),
        ("\"factor\": 32.0", "\"factor\": 0", "rope_parameters.factor"),
        ("\"low_freq_factor\": 1.0", "\"low_freq_factor\": 5.0", "high_freq_factor"),
        ("\"eos_token_id\": 2", "\"eos_token_id\": 320", "eos_token_id"),
        ("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": 0", "tie_word_embeddings"),
        ("\"dtype\": \"float32\"", "\"dtype\": \"float13\"", "float13"),
        ("\"architectures\": [", "\"architectures\": [5, ", "architectures"),
        ("{", "", "line "),
    ];
    for (from, to, words) in cases {
        assert_error(changed(from, to), is_format, &["config.json", words]);
    }
    assert_error(parse("[]"), is_format, &["JSON object"]);
    assert_error(parse("{}"), is_format, &["architectures", "LlamaForCausalLM"]);
    let mut config = changed("{", "{").unwrap();
    config.num_key_value_heads = 0;
    assert_error(config.validate(), is_invalid, &["num_key_value_heads"]);
}

#[test]
fn rotary_tables_are_those_of_transformers() {
    let file = open(golden().join("rope/rope.safetensors"));
    let text = std::fs::read(golden().join("rope/rope.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let positions: Vec<u32> = serde_json::from_value(json["positions"].clone()).unwrap();
    let base = ModelConfig::from_dir(golden().join("model/tiny_b")).unwrap();
    for (model, head_dim) in [("llama32_1b", 64), ("llama32_3b", 128)] {
        let config = ModelConfig { head_dim, ..base.clone() };
        let get = |part: &str| f64s(&file, &format!("{model}.{part}_f64"));
        for (i, (got, want)) in config.inv_freq().iter().zip(get("inv_freq")).enumerate() {
            assert!((f64::from(*got) / want - 1.0).abs() < 1e-7, "{model} inv_freq[{i}]");
        }
        // Against transformers' own f32 values the bound is wider: they are made in f32.
        let theirs = f32s(&file, &format!("{model}.inv_freq"));
        assert_eq!(theirs.len(), config.inv_freq().len());
        for (got, want) in config.inv_freq().iter().zip(theirs) {
            assert!((got / want - 1.0).abs() < 1e-6);
        }
        let (cos, sin) = config.rope_tables(&positions);
        for (got, want) in [(cos, get("cos")), (sin, get("sin"))] {
            assert_eq!(got.len(), want.len());
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                assert!((f64::from(*got) - want).abs() < 1e-7, "{model}[{i}]: {got} {want}");
            }
        }
        // Without the scaling the comparison must fail.
        let plain = Rope { scaling: RopeScaling::None, ..config.rope };
        let last = *plain.inv_freq(head_dim).last().unwrap();
        assert!((f64::from(last) / get("inv_freq").last().unwrap() - 32.0).abs() < 1e-3);
    }
}
