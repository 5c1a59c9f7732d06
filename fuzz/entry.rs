//! What is done with bytes of unknown origin, format by format: the same for `cargo fuzz` and for
//! tests/hostile.
//!
//! Each function takes a whole file and says whether it could be read: it must not panic, abort,
//! hang, or take much more memory than the file is long. What opens is also used.

use wgpu_lora::data::{ColumnMap, Record, for_each_record, for_each_record_in};
use wgpu_lora::format::{
    AdapterConfig, AdapterFile, Checkpoint, Conversation, GgufFile, MemorySource, ModelConfig,
    SafetensorsFile, Special, Tokenizer,
};

/// Values read of one tensor.
const MOST: usize = 4096;

/// A safetensors file, read as a checkpoint and as an adapter.
pub fn safetensors(data: &[u8]) -> bool {
    let config = br#"{"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "peft_type": "LORA"}"#;
    let _ = AdapterFile::from_bytes("x", config, data.to_vec());
    let source = Box::new(MemorySource::new("x.safetensors", data));
    let Ok(file) = SafetensorsFile::open(source) else { return false };
    read_all(&Checkpoint::from_files(vec![file]));
    true
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

/// A GGUF file: configuration and weights.
pub fn gguf(data: &[u8]) -> bool {
    let source = Box::new(MemorySource::new("x.gguf", data));
    let Ok(file) = GgufFile::open(source) else { return false };
    let _ = file.config();
    let _ = file.chat_template();
    read_all(&Checkpoint::from_gguf(file));
    true
}

/// The tokenizer of a GGUF file.
pub fn gguf_tokenizer(data: &[u8]) -> bool {
    let source = Box::new(MemorySource::new("x.gguf", data));
    let Ok(tokenizer) = GgufFile::open(source).and_then(|file| file.tokenizer()) else {
        return false;
    };
    use_tokenizer(&tokenizer);
    true
}

/// An adapter_config.json.
pub fn adapter_config(data: &[u8]) -> bool {
    let Ok(config) = AdapterConfig::from_json("adapter_config.json", data) else { return false };
    let module = "model.layers.1.self_attn.q_proj";
    let _ = (config.covers(module), config.rank_of(module), config.scaling_of(module));
    let _ = AdapterConfig::from_json("again", config.to_json().as_bytes());
    true
}

/// A tokenizer.json, or a tokenizer_config.json beside a good one.
pub fn tokenizer(data: &[u8]) -> bool {
    if let Ok(tokenizer) = Tokenizer::from_bytes("tokenizer.json", data) {
        use_tokenizer(&tokenizer);
        return true;
    }
    const GOOD: &[u8] =
        br#"{"model": {"type": "BPE", "vocab": {"<s>": 0, "</s>": 1}, "merges": []}}"#;
    let Ok(mut tokenizer) = Tokenizer::from_bytes("tokenizer.json", GOOD) else { return false };
    let read = tokenizer.apply_config("tokenizer_config.json", data).is_ok();
    if let Ok(template) = tokenizer.chat_template() {
        let messages = [serde_json::json!({"role": "user", "content": "a"})];
        let _ = template.render(&Conversation::new(&messages).with_generation_prompt());
    }
    read
}

fn use_tokenizer(tokenizer: &Tokenizer) {
    if let Ok(ids) = tokenizer.encode("The price of 12 naïve\n  items is $3.", Special::With) {
        let _ = tokenizer.decode(&ids, Special::Without);
    }
    let _ = tokenizer.decode(&[0, 1, u32::MAX], Special::With);
    let _ = tokenizer.to_json();
}

/// A config.json, and the same bytes as generation_config.json.
pub fn config(data: &[u8]) -> bool {
    let Ok(mut config) = ModelConfig::from_json("config.json", data) else { return false };
    let _ = config.apply_generation_config("generation_config.json", data);
    let _ = config.validate();
    if config.head_dim <= 1024 {
        let _ = config.rope_tables(&[0, 1, 1000]);
    }
    true
}

fn make_row(_: usize, record: Record) -> wgpu_lora::Result<()> {
    let _ = ColumnMap::default().row(&record);
    Ok(())
}

/// Rows as JSON lines, or a JSON array.
pub fn jsonl(data: &[u8]) -> bool {
    for_each_record_in("x.jsonl", data, make_row).is_ok()
}

/// Rows as CSV.
pub fn csv(data: &[u8]) -> bool {
    for_each_record_in("x.csv", data, make_row).is_ok()
}

/// Rows as Parquet, which is read from a file: one a thread, in the folder for temporary files.
pub fn parquet(data: &[u8]) -> bool {
    let name =
        format!("wgpu-lora-{}-{:?}.parquet", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    if std::fs::write(&path, data).is_err() {
        return false;
    }
    let read = for_each_record(&path, make_row).is_ok();
    let _ = std::fs::remove_file(&path);
    read
}
