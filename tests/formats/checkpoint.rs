//! Single files, shards and their index.

use wgpu_lora::format::{Checkpoint, DType, TensorData, write_safetensors};

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
