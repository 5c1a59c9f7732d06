//! What is done with bytes of unknown origin, format by format: the same for `cargo fuzz` and for tests/hostile.
//!
//! Each function takes a whole file and may return whatever it likes: it must not panic, abort, hang, or take much
//! more memory than the file is long. What opens is also used.

use wgpu_lora::data::for_each_record_in;
use wgpu_lora::format::{
    AdapterConfig, AdapterFile, Checkpoint, GgufFile, MemorySource, ModelConfig, SafetensorsFile,
    Tokenizer,
};

/// Values read of one tensor.
const MOST: usize = 4096;

/// A safetensors file, read as a checkpoint and as an adapter.
pub fn safetensors(data: &[u8]) {
    let source = || Box::new(MemorySource::new("x.safetensors", data));
    if let Ok(file) = SafetensorsFile::open(source()) {
        read_all(&Checkpoint::from_files(vec![file]));
    }
    let config = br#"{"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "peft_type": "LORA"}"#;
    let _ = AdapterFile::from_bytes("x", config, data.to_vec());
}

fn read_all(checkpoint: &wgpu_lora::Result<Checkpoint>) {
    let Ok(checkpoint) = checkpoint else { return };
    for name in checkpoint.names() {
        let Ok(info) = checkpoint.info(name) else { continue };
        let n = info.elements().min(MOST);
        let _ = checkpoint.read_f32(name, n / 3..n);
        let mut bytes = Vec::new();
        let _ = checkpoint.read_bytes(name, 0..info.bytes.min(MOST as u64), &mut bytes);
        let _ = wgpu_lora::format::read_prequantized(checkpoint, name);
    }
}

/// A GGUF file: configuration, tokenizer, weights.
pub fn gguf(data: &[u8]) {
    let Ok(file) = GgufFile::open(Box::new(MemorySource::new("x.gguf", data))) else { return };
    let _ = file.config();
    let _ = file.chat_template();
    if let Ok(tokenizer) = file.tokenizer() {
        use_tokenizer(&tokenizer);
    }
    read_all(&Checkpoint::from_gguf(file));
}

/// An adapter_config.json.
pub fn adapter_config(data: &[u8]) {
    if let Ok(config) = AdapterConfig::from_json("adapter_config.json", data) {
        let module = "model.layers.1.self_attn.q_proj";
        let _ = (config.covers(module), config.rank_of(module), config.scaling_of(module));
        let _ = AdapterConfig::from_json("again", config.to_json().as_bytes());
    }
}

/// A tokenizer.json, and perhaps a tokenizer_config.json.
pub fn tokenizer(data: &[u8]) {
    if let Ok(mut tokenizer) = Tokenizer::from_bytes("tokenizer.json", data) {
        let _ = tokenizer.apply_config("tokenizer_config.json", data);
        use_tokenizer(&tokenizer);
    }
}

fn use_tokenizer(tokenizer: &Tokenizer) {
    if let Ok(ids) = tokenizer.encode("The price of 12 naïve\n  items is $3.", true) {
        let _ = tokenizer.decode(&ids, true);
    }
    let _ = tokenizer.decode(&[0, 1, u32::MAX], false);
    let _ = tokenizer.to_json();
}

/// A config.json, and the same bytes as generation_config.json.
pub fn config(data: &[u8]) {
    if let Ok(mut config) = ModelConfig::from_json("config.json", data) {
        let _ = config.apply_generation_config("generation_config.json", data);
        let _ = config.validate();
        if config.head_dim <= 1024 {
            let _ = config.rope_tables(&[0, 1, 1000]);
        }
    }
}

/// Rows as JSON lines, or a JSON array.
pub fn jsonl(data: &[u8]) {
    let _ = for_each_record_in("x.jsonl", data, |_, _| Ok(()));
}

/// Rows as CSV.
pub fn csv(data: &[u8]) {
    let _ = for_each_record_in("x.csv", data, |_, _| Ok(()));
}
