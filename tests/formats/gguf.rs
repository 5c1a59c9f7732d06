//! GGUF: what is written is read again, and files that lie are refused with the place.

use wgpu_lora::export::{export_gguf, export_lora_gguf, merge};
use wgpu_lora::format::{
    AdapterFile, Checkpoint, DType, Family, GgufAnnounced, GgufField, GgufFile, GgufType,
    GgufValue, GgufWriter, MemorySource, ModelFiles, Special,
};

use super::*;
use crate::tiny;

/// Whether an error is of the kind that is meant.
type Kind = fn(&Error) -> bool;

fn silent(_: u64, _: u64) {}

/// `tiny_a` with a tokenizer, as a GGUF file.
fn exported(folder: &Path) -> PathBuf {
    let (model, out) = (folder.join("model"), folder.join("model.gguf"));
    tiny::write_model(&model, "tiny_a");
    export_gguf(&ModelFiles::open(&model).unwrap(), None, &out, &mut silent).unwrap();
    out
}

#[test]
fn an_exported_model_is_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = exported(folder.path());
    let (got, want) =
        (ModelFiles::open(&out).unwrap(), ModelFiles::open(folder.path().join("model")).unwrap());
    let mut config = got.config.clone();
    config.dtype = want.config.dtype;
    assert_eq!(config, want.config);
    let names: Vec<_> = got.checkpoint.names().collect();
    assert_eq!(names, want.checkpoint.names().collect::<Vec<_>>());
    for name in names {
        let n = want.checkpoint.info(name).unwrap().elements();
        assert_eq!(got.checkpoint.info(name).unwrap(), &{
            let mut info = want.checkpoint.info(name).unwrap().clone();
            info.offset = got.checkpoint.info(name).unwrap().offset;
            info
        });
        let whole = want.checkpoint.read_f32(name, 0..n).unwrap();
        assert_bits(&got.checkpoint.read_f32(name, 0..n).unwrap(), &whole, name);
        let part = n / 5..n - n / 7;
        assert_bits(&got.checkpoint.read_f32(name, part.clone()).unwrap(), &whole[part], name);
        let mut bytes = Vec::new();
        got.checkpoint.read_bytes(name, 3..n as u64, &mut bytes).unwrap();
        let raw: Vec<u8> = whole.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(bytes, raw[3..n], "{name}");
    }
    let (a, b) = (got.tokenizer().unwrap(), want.tokenizer().unwrap());
    assert_eq!((a.bos_id(), a.eos_id(), a.vocab_size()), (b.bos_id(), b.eos_id(), b.vocab_size()));
    for text in ["price is $12.50", "naïve\n\n  x", ""] {
        assert_eq!(a.encode(text, Special::With).unwrap(), b.encode(text, Special::With).unwrap());
    }
}

#[test]
fn q_and_k_are_stored_in_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let out = exported(folder.path());
    let file = GgufFile::open_path(&out).unwrap();
    let q = &file.tensors()["blk.0.attn_q.weight"];
    let raw = std::fs::read(&out).unwrap();
    let row = |i: usize| {
        let at = q.offset as usize + i * 64 * 4;
        raw[at..at + 64 * 4]
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect::<Vec<_>>()
    };
    let want = Checkpoint::open(folder.path().join("model")).unwrap();
    let hf = |i: usize| {
        let name = "model.layers.0.self_attn.q_proj.weight";
        want.read_f32(name, i * 64..(i + 1) * 64).unwrap()
    };
    let e = ModelFiles::open(folder.path().join("model")).unwrap().config.head_dim;
    assert_bits(&row(0), &hf(0), "row 0");
    assert_bits(&row(1), &hf(e / 2), "row 1");
    assert_bits(&row(e + 2), &hf(e + 1), "row 2 of head 1");
}

#[test]
fn adapters_alone_are_scaled_as_llama_cpp_scales_them() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    tiny::write_model(&model, "tiny_a");
    let files = ModelFiles::open(&model).unwrap();
    let adapter = AdapterFile::load(golden().join("lora/all_r16_rslora")).unwrap();
    let out = folder.path().join("lora.gguf");
    export_lora_gguf(&files, &adapter, &out).unwrap();
    let file = GgufFile::open_path(&out).unwrap();
    let text = |key: &str| match &file.metadata()[key] {
        GgufValue::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text("general.type"), "adapter");
    assert_eq!(text("adapter.type"), "lora");
    assert_eq!(text("general.architecture"), "llama");
    let GgufValue::Float(alpha) = file.metadata()["adapter.lora.alpha"] else { panic!() };
    assert!((alpha / 16.0 - adapter.config.scaling()).abs() < 1e-6, "alpha / rank is the scale");
    assert_eq!(file.tensors().len(), 2 * adapter.modules().len());
    let b = &file.tensors()["blk.1.attn_k.weight.lora_b"];
    assert_eq!(
        b.shape,
        adapter.tensors["base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight"].0
    );
    // Alphas by layer, the first of them 0, which llama.cpp would take for 1: B has what one alpha
    // cannot say.
    let mut by_layer = adapter.clone();
    by_layer.config.alpha_pattern = [("layers.0.mlp.down_proj", 0.0), ("v_proj", 3.0)].into();
    let path = folder.path().join("by_layer.gguf");
    export_lora_gguf(&files, &by_layer, &path).unwrap();
    let file = GgufFile::open_path(&path).unwrap();
    let GgufValue::Float(alpha) = file.metadata()["adapter.lora.alpha"] else { panic!() };
    let raw = std::fs::read(&path).unwrap();
    for (module, gguf, scale) in [
        ("layers.0.mlp.down_proj", "blk.0.ffn_down", 0.0),
        ("layers.1.mlp.down_proj", "blk.1.ffn_down", adapter.config.scaling()),
        ("layers.1.self_attn.v_proj", "blk.1.attn_v", 3.0 / 4.0),
    ] {
        let (_, b) = &adapter.tensors[&format!("base_model.model.model.{module}.lora_B.weight")];
        let at = file.tensors()[&format!("{gguf}.weight.lora_b")].offset as usize;
        for (raw, b) in raw[at..].as_chunks().0.iter().zip(b) {
            let got = f64::from(f32::from_le_bytes(*raw)) * alpha / 16.0;
            assert!((got - scale * f64::from(*b)).abs() < 1e-6, "{module}: {got}");
        }
    }
    // An adapter is no model.
    assert_error(ModelFiles::open(&out), |_| true, &["lora.gguf"]);
    let dora = AdapterFile::load(golden().join("lora/qv_r8_dora")).unwrap();
    assert_error(export_lora_gguf(&files, &dora, &out), is_unsupported, &["DoRA", "merged"]);
}

#[test]
fn a_gguf_file_is_merged_into_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = ModelFiles::open(exported(folder.path())).unwrap();
    let from_folder = ModelFiles::open(folder.path().join("model")).unwrap();
    let adapter = AdapterFile::load(golden().join("lora/qv_r8")).unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    merge(&gguf, &adapter, &a, &mut silent).unwrap();
    merge(&from_folder, &adapter, &b, &mut silent).unwrap();
    let (a, b) = (ModelFiles::open(a).unwrap(), ModelFiles::open(b).unwrap());
    assert_eq!(a.config, b.config);
    for name in a.checkpoint.names() {
        let n = a.checkpoint.info(name).unwrap().elements();
        let (got, want) = (a.checkpoint.read_f32(name, 0..n), b.checkpoint.read_f32(name, 0..n));
        assert_bits(&got.unwrap(), &want.unwrap(), name);
    }
    let theirs = open(golden().join("lora/qv_r8/merged_f32.safetensors"));
    let name = "model.layers.0.self_attn.q_proj.weight";
    let (got, want) = (b.checkpoint.read_f32(name, 0..4096).unwrap(), f32s(&theirs, name));
    assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= 1e-6));
    assert_eq!(
        a.tokenizer().unwrap().encode("a price", Special::With).unwrap(),
        b.tokenizer().unwrap().encode("a price", Special::With).unwrap()
    );
    let again = merge(&gguf, &adapter, folder.path().join("a"), &mut silent);
    assert_error(again, is_invalid, &["holds a model already"]);
    let four = ModelFiles::open(golden().join("prequant/bf16_double")).unwrap();
    let refused = merge(&four, &adapter, folder.path().join("c"), &mut silent);
    assert_error(refused, is_unsupported, &["4 bits", "16-bit"]);
}

/// A small valid file whose parts can be spoilt.
#[derive(Clone)]
struct Draft {
    fields: Vec<(String, GgufField)>,
    tensors: Vec<GgufAnnounced>,
}

impl Draft {
    fn new() -> Draft {
        let text = |s: &str| GgufField::Text(s.into());
        let number = GgufField::U32;
        let fields = [
            ("general.architecture", text("llama")),
            ("llama.embedding_length", number(8)),
            ("llama.block_count", number(1)),
            ("llama.feed_forward_length", number(4)),
            ("llama.attention.head_count", number(2)),
        ];
        let fields = fields.map(|(key, field)| (key.to_owned(), field)).to_vec();
        let tensor = |name: &str, shape: &[usize]| GgufAnnounced {
            name: name.into(),
            kind: GgufType::F32,
            shape: shape.to_vec(),
        };
        let tensors =
            vec![tensor("token_embd.weight", &[16, 8]), tensor("output_norm.weight", &[8])];
        Draft { fields, tensors }
    }

    fn set(mut self, key: &str, value: GgufField) -> Draft {
        self.fields.retain(|(name, _)| name != key);
        self.fields.push((key.into(), value));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        let mut writer = GgufWriter::create(&path, &self.fields, self.tensors.clone()).unwrap();
        for tensor in &self.tensors {
            let n: usize = tensor.shape.iter().product();
            writer.write(&tensor.name, &vec![0.5; n]).unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    }
}

fn read(bytes: Vec<u8>) -> Result<GgufFile> {
    GgufFile::open(Box::new(MemorySource::new("x.gguf", bytes)))
}

#[test]
fn configurations_are_checked() {
    let config = |draft: Draft| read(draft.bytes()).unwrap().config();
    let good = config(Draft::new()).unwrap();
    assert_eq!((good.family, good.vocab_size, good.head_dim), (Family::Llama, 16, 4));
    assert!(good.tie_word_embeddings);
    let text = |s: &str| GgufField::Text(s.into());
    let cases: [(&str, GgufField, Kind, &str); 8] = [
        ("general.architecture", text("mamba"), is_unsupported, "qwen2 work"),
        ("llama.expert_count", GgufField::U32(8), is_unsupported, "experts"),
        ("llama.attention.head_count", GgufField::U32(0), is_format, "head_count"),
        ("llama.attention.head_count", GgufField::U32(3), is_format, "divide"),
        ("llama.attention.head_count_kv", GgufField::I32s(vec![1, 2]), is_unsupported, "layer"),
        ("llama.rope.scaling.type", text("longrope"), is_unsupported, "longrope"),
        ("llama.rope.dimension_count", GgufField::U32(2), is_unsupported, "whole"),
        ("llama.block_count", text("1"), is_format, "whole number"),
    ];
    for (key, value, kind, word) in cases {
        assert_error(config(Draft::new().set(key, value)), kind, &["x.gguf", word]);
    }
    let equal =
        config(Draft::new().set("llama.attention.head_count_kv", GgufField::I32s(vec![1, 1])));
    assert_eq!(equal.unwrap().num_key_value_heads, 1);
}

#[test]
fn tokenizers_that_cannot_be_built_say_why() {
    let tokenizer = |draft: Draft| read(draft.bytes()).unwrap().tokenizer();
    let text = |s: &str| GgufField::Text(s.into());
    assert_error(tokenizer(Draft::new()), is_format, &["tokenizer.ggml.model", "is missing"]);
    let other = Draft::new().set("tokenizer.ggml.model", text("t5"));
    assert_error(tokenizer(other), is_unsupported, &["`t5`", "gpt2", "llama", "beside"]);
    let spm = Draft::new().set("tokenizer.ggml.model", text("llama"));
    let spm = spm.set("tokenizer.ggml.tokens", GgufField::Texts(vec!["a".into(), "b".into()]));
    assert_error(tokenizer(spm.clone()), is_format, &["tokenizer.ggml.scores", "missing"]);
    let scores = |list: &[f32]| GgufField::F32s(list.to_vec());
    let short = spm.clone().set("tokenizer.ggml.scores", scores(&[0.0]));
    assert_error(tokenizer(short), is_format, &["1 entries for 2 tokens"]);
    let untyped = spm.set("tokenizer.ggml.scores", scores(&[0.0, -1.0]));
    assert!(tokenizer(untyped).is_ok(), "without types all tokens are normal");
    let pre = |name: &str| {
        Draft::new().set("tokenizer.ggml.model", text("gpt2")).set("tokenizer.ggml.pre", text(name))
    };
    assert_error(tokenizer(pre("tekken")), is_unsupported, &["tekken", "llama-bpe"]);
    let texts = |list: &[&str]| GgufField::Texts(list.iter().map(|s| s.to_string()).collect());
    let full = |tokens: &[&str], merges: &[&str]| {
        let draft = pre("smollm").set("tokenizer.ggml.tokens", texts(tokens));
        draft.set("tokenizer.ggml.merges", texts(merges))
    };
    assert_error(tokenizer(full(&["a", "a"], &[])), is_format, &["twice"]);
    assert_error(tokenizer(full(&["a", "b"], &["a"])), is_format, &["no pair"]);
    assert_error(tokenizer(full(&["a", "b"], &["a b"])), |_| true, &["x.gguf"]);
    let good = full(&["a", "b", "ab"], &["a b"]);
    assert_eq!(tokenizer(good).unwrap().encode("abab", Special::With).unwrap(), [2, 2]);
}

#[test]
fn files_that_lie_are_refused_with_the_place() {
    let good = Draft::new().bytes();
    assert!(read(good.clone()).is_ok());
    let with = |at: usize, bytes: &[u8]| {
        let mut spoilt = good.clone();
        spoilt[at..at + bytes.len()].copy_from_slice(bytes);
        read(spoilt)
    };
    let big = (1u64 << 62).to_le_bytes();
    assert_error(with(0, b"GGML"), is_format, &["byte 0", "no GGUF"]);
    assert_error(with(4, &1u32.to_le_bytes()), is_unsupported, &["version 1"]);
    assert_error(with(4, &3u32.to_be_bytes()), is_unsupported, &["big-endian"]);
    assert_error(with(8, &big), is_format, &["byte 8", "4611686018427387904 tensors"]);
    assert_error(with(16, &big), is_format, &["byte 16", "metadata entries"]);
    assert_error(with(24, &big), is_format, &["byte 24", "a metadata key"]);
    assert_error(with(32, &[0xff]), is_format, &["byte 24", "UTF-8"]);
    let find = |needle: &[u8]| good.windows(needle.len()).position(|w| w == needle).unwrap();
    let table = find(b"token_embd.weight") + 17;
    assert_error(with(table, &9u32.to_le_bytes()), is_format, &["token_embd.weight", "9 axes"]);
    assert_error(with(table + 4, &big), is_format, &["token_embd.weight", "shape"]);
    assert_error(with(table + 4, &[0; 8]), is_format, &["token_embd.weight", "shape"]);
    assert_error(with(table + 4, &4000u64.to_le_bytes()), is_format, &["truncated"]);
    assert_error(with(table + 20, &11u32.to_le_bytes()), is_unsupported, &["Q3_K", "Q4_K"]);
    assert_error(with(table + 20, &77u32.to_le_bytes()), is_unsupported, &["number 77"]);
    assert_error(with(table + 20, &2u32.to_le_bytes()), is_format, &["whole blocks of Q4_0"]);
    assert_error(with(table + 24, &7u64.to_le_bytes()), is_format, &["no multiple of 32"]);
    let norm = find(b"output_norm.weight") + 18;
    assert_error(with(norm + 16, &[0; 8]), is_format, &["lies in another tensor"]);
    assert_error(with(norm + 16, &big), is_format, &["truncated"]);
    let mut draft = Draft::new();
    draft.fields.push(draft.fields[0].clone());
    assert_error(read(draft.bytes()), is_format, &["general.architecture", "twice"]);
    for alignment in [0, 3, 1 << 30] {
        let draft = Draft::new().set("general.alignment", GgufField::U32(alignment));
        assert_error(read(draft.bytes()), is_format, &["general.alignment", "power of two"]);
    }
    for length in 0..good.len() {
        assert!(read(good[..length].to_vec()).is_err(), "cut to {length} bytes");
    }
    let f16 = Draft::new().bytes();
    let file = Checkpoint::from_gguf(read(f16).unwrap()).unwrap();
    assert_eq!(file.info("model.norm.weight").unwrap().dtype, DType::F32);
}

/// Made with the sentencepiece library (`tests/fixtures/make_spm.py`).
#[test]
fn sentencepiece_tokenizers_give_the_librarys_ids() {
    let bytes = std::fs::read(tiny::fixture("spm").join("spm.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let list = |key: &str| golden[key].as_array().unwrap();
    let tokens = list("tokens").iter().map(|t| t.as_str().unwrap().to_owned()).collect();
    let scores = list("scores").iter().map(|s| s.as_f64().unwrap() as f32).collect();
    let types = list("types").iter().map(|t| t.as_i64().unwrap() as i32).collect();
    let draft = Draft::new()
        .set("tokenizer.ggml.model", GgufField::Text("llama".into()))
        .set("tokenizer.ggml.tokens", GgufField::Texts(tokens))
        .set("tokenizer.ggml.scores", GgufField::F32s(scores))
        .set("tokenizer.ggml.token_type", GgufField::I32s(types))
        .set("tokenizer.ggml.bos_token_id", GgufField::U32(1));
    let tokenizer = read(draft.bytes()).unwrap().tokenizer().unwrap();
    for case in list("cases") {
        let text = case["text"].as_str().unwrap();
        let ids = tokenizer.encode(text, Special::Without).unwrap();
        assert_eq!(serde_json::json!(ids), case["ids"], "{text:?}");
        assert_eq!(tokenizer.decode(&ids, Special::Without).unwrap(), case["decoded"], "{text:?}");
        assert_eq!(
            tokenizer.encode(text, Special::With).unwrap(),
            [&[1], &ids[..]].concat(),
            "{text:?}"
        );
    }
}
