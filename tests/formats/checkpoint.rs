//! Single files, shards and their index.

use std::collections::BTreeMap;

use wgpu_lora::format::{
    ByteSource, Checkpoint, DType, MemorySource, ModelFiles, TensorData, write_safetensors,
};

use super::*;

fn tensor(folder: &Path, file: &str, names: &[&str]) {
    let tensors: Vec<_> = names
        .iter()
        .map(|name| TensorData { name, dtype: DType::U8, shape: &[2, 1], bytes: &[1, 2] })
        .collect();
    write_safetensors(folder.join(file), &tensors, &[]).unwrap();
}

fn index(folder: &Path, map: &str) {
    let text = format!(r#"{{"metadata":{{"total_size":4}},"weight_map":{map}}}"#);
    std::fs::write(folder.join("model.safetensors.index.json"), text).unwrap();
}

#[test]
fn a_single_file_is_read_like_its_tensors() {
    let checkpoint = Checkpoint::open(golden().join("model/tiny_a")).unwrap();
    assert_eq!(checkpoint.names().count(), 29);
    let name = "model.layers.1.mlp.up_proj.weight";
    checkpoint.expect(name, &[192, 64]).unwrap();
    let all = checkpoint.read_f32(name, 0..192 * 64).unwrap();
    assert_bits(&checkpoint.read_f32(name, 100..300).unwrap(), &all[100..300], "part");
    let wrong = checkpoint.expect(name, &[64, 192]);
    assert_error(wrong, is_shape, &["model.safetensors", name, "[64, 192]", "[192, 64]"]);
    let missing = checkpoint.info("model.layers.3.mlp.up_proj.weight");
    assert_error(missing, is_missing, &["tiny_a", "29 tensors", "Llama"]);
}

#[test]
fn shards_are_found_through_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tensor(folder, "model-1.safetensors", &["a", "b"]);
    tensor(folder, "model-2.safetensors", &["c"]);
    index(
        folder,
        r#"{"a":"model-1.safetensors","b":"model-1.safetensors","c":"model-2.safetensors"}"#,
    );
    let checkpoint = Checkpoint::open(folder).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(checkpoint.file_of("c").unwrap().name().ends_with("model-2.safetensors"));
    let mut bytes = Vec::new();
    checkpoint.read_bytes("c", 1..2, &mut bytes).unwrap();
    assert_eq!(bytes, [2]);
}

#[test]
fn shards_of_the_large_set_are_read() {
    let Some(set) = large_golden() else { return };
    let sharded = Checkpoint::open(set.join("model/tiny_a_bf16_sharded")).unwrap();
    let single = Checkpoint::open(set.join("model/tiny_a")).unwrap();
    assert_eq!(sharded.files().len(), 4);
    for name in single.names() {
        let n = single.info(name).unwrap().elements();
        let rounded: Vec<f32> = single
            .read_f32(name, 0..n)
            .unwrap()
            .into_iter()
            .map(|v| half::bf16::from_f32(v).to_f32())
            .collect();
        assert_bits(&sharded.read_f32(name, 0..n).unwrap(), &rounded, name);
    }
}

#[test]
fn an_index_that_lies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    tensor(folder, "model-1.safetensors", &["a"]);
    let refused = |map: &str, words: &[&str]| {
        index(folder, map);
        assert_error(Checkpoint::open(folder), is_format, words);
    };
    refused(
        r#"{"a":"model-1.safetensors","b":"model-9.safetensors"}"#,
        &["index.json", "`model-9.safetensors`", "not in the folder"],
    );
    refused(r#"{"b":"model-1.safetensors"}"#, &["tensor `b`", "`model-1.safetensors`"]);
    refused(r#"{"a":"../model-1.safetensors"}"#, &["no plain file name"]);
    refused(r#"{"a":".."}"#, &["no plain file name"]);
    refused(r#"{"a":5}"#, &["index.json", "line 1"]);
    refused("{}", &["names no tensors"]);
    tensor(folder, "model-2.safetensors", &["a"]);
    refused(r#"{"a":"model-1.safetensors","c":"model-2.safetensors"}"#, &["also in"]);
}

#[test]
fn folders_without_weights_say_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_error(Checkpoint::open(folder.join("none")), is_io, &["none"]);
    assert_error(Checkpoint::open(folder), is_format, &["model.safetensors", "download"]);
    std::fs::write(folder.join("pytorch_model.bin"), [0]).unwrap();
    assert_error(Checkpoint::open(folder), is_unsupported, &[".bin", "safe_serialization"]);
    let adapter = Checkpoint::open(golden().join("lora/qv_r8/adapter_model.safetensors")).unwrap();
    assert_error(adapter.info("lm_head.weight"), is_missing, &["adapter", "base model"]);
}

/// A folder with the weights of tiny_b, changed.
fn changed(
    change: impl FnOnce(&mut Vec<(String, Vec<usize>, Vec<f32>)>),
    tie: bool,
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = golden().join("model/tiny_b");
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let config = config
        .replace("\"tie_word_embeddings\": false", &format!("\"tie_word_embeddings\": {tie}"));
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let stored = Checkpoint::open(source).unwrap();
    let mut tensors: Vec<_> = stored
        .names()
        .map(|name| {
            let info = stored.info(name).unwrap();
            (
                name.to_owned(),
                info.shape.clone(),
                stored.read_f32(name, 0..info.elements()).unwrap(),
            )
        })
        .collect();
    change(&mut tensors);
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., v)| v.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let tensors: Vec<_> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| TensorData { name, dtype: DType::F32, shape, bytes })
        .collect();
    write_safetensors(folder.path().join("model.safetensors"), &tensors, &[]).unwrap();
    folder
}

#[test]
fn tensors_that_nobody_reads_are_refused_by_name() {
    for (name, word) in [
        ("model.layers.0.self_attn.q_proj.bias", "Qwen2"),
        ("model.layers.0.self_attn.q_norm.weight", "another model"),
        ("model.layers.2.input_layernorm.weight", "2 layers"),
        ("model.layers.00.input_layernorm.weight", "2 layers"),
        ("model.layers.0.mlp.up_proj.lora_A.default.weight", "‹adapter›"),
        ("model.model.norm.weight", "another model"),
        ("lm_head.bias", "bias"),
        ("score.weight", "another model"),
    ] {
        let folder = changed(|all| all.push((name.into(), vec![2], vec![1.0; 2])), false);
        assert_error(ModelFiles::open(folder.path()), is_unsupported, &[name, word]);
    }
    let table = "model.layers.1.self_attn.rotary_emb.inv_freq";
    let folder = changed(|all| all.push((table.into(), vec![2], vec![1.0; 2])), false);
    let notes = ModelFiles::open(folder.path()).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains(table)), "{notes:?}");
    std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    assert_error(ModelFiles::open(folder.path()), is_unsupported, &["adapter_config.json"]);
}

#[test]
fn the_base_models_names_are_those_of_the_whole() {
    let folder = changed(
        |all| {
            for (name, ..) in all {
                *name = match name.strip_prefix("model.") {
                    Some(rest) => rest.into(),
                    None => format!("model.{name}"),
                };
            }
        },
        false,
    );
    let files = ModelFiles::open(folder.path()).unwrap();
    let whole = Checkpoint::open(golden().join("model/tiny_b")).unwrap();
    assert!(files.checkpoint.names().eq(whole.names()));
    let twice = changed(|all| all.push(("norm.weight".into(), vec![96], vec![1.0; 96])), false);
    assert_error(ModelFiles::open(twice.path()), is_format, &["model.norm.weight", "twice"]);
}

#[test]
fn a_head_in_the_file_is_used_unless_it_is_the_embedding() {
    let names = |folder: &tempfile::TempDir| {
        let files = ModelFiles::open(folder.path()).unwrap();
        files.checkpoint.embedding_and_head(&files.config).unwrap()
    };
    const EMBED: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    assert_eq!(names(&changed(|_| {}, false)), (EMBED, Some(HEAD)));
    assert_eq!(names(&changed(|_| {}, true)), (EMBED, Some(HEAD)), "they differ");
    let without =
        |which: &'static str| changed(move |all| all.retain(|(name, ..)| name != which), true);
    assert_eq!(names(&without(HEAD)), (EMBED, None));
    assert_eq!(names(&without(EMBED)), (HEAD, None));
    let same = changed(
        |all| {
            let embedding = all.iter().find(|(name, ..)| name == EMBED).unwrap().2.clone();
            all.iter_mut().find(|(name, ..)| name == HEAD).unwrap().2 = embedding;
        },
        true,
    );
    assert_eq!(names(&same), (EMBED, None));
}

/// Files that a page is given mean what a folder of them means, and the same is said of them.
#[test]
fn files_without_a_folder_are_read_like_a_folder() {
    let place = tempfile::tempdir().unwrap();
    crate::tiny::write_model(place.path(), "tiny_a");
    let path = place.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replacen('{', r#"{"unsloth_version": "2","#, 1)).unwrap();
    let given = || {
        let read = |name: &str| std::fs::read(place.path().join(name)).ok();
        let small = ["config.json", "tokenizer.json", "generation_config.json"].iter();
        let small = small.filter_map(|name| Some((name.to_string(), read(name)?)));
        let weights = MemorySource::new("model.safetensors", read("model.safetensors").unwrap());
        let weights: Vec<Box<dyn ByteSource>> = vec![Box::new(weights)];
        ModelFiles::given("tiny", &small.collect::<BTreeMap<_, _>>(), weights)
    };
    let (files, tokenizer) = given().unwrap();
    let folder = ModelFiles::open(place.path()).unwrap();
    assert_eq!(files.config, folder.config);
    let prefix = format!("{}/", place.path().display());
    let said: Vec<String> = folder.notes.iter().map(|note| note.replace(&prefix, "")).collect();
    assert_eq!(files.notes, said);
    assert!(files.notes.iter().any(|note| note.contains("unsloth_version")), "{:?}", files.notes);
    assert_eq!(tokenizer.vocab_size(), folder.tokenizer().unwrap().vocab_size());
    std::fs::remove_file(place.path().join("tokenizer.json")).unwrap();
    assert_error(given(), is_format, &["tiny", "tokenizer.json is missing"]);
}
