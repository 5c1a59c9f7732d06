//! GGUF as llama.cpp reads and writes it: models in parts, tokens that end a text, keys that nobody
//! reads, and vocabularies that are written.

use serde_json::{Value, json};
use wgpu_lora::export::export_gguf;
use wgpu_lora::format::{
    GgufField, GgufFile, GgufValue, MemorySource, ModelFiles, Special, Tokenizer, tokenizer_fields,
};

use super::*;
use crate::tiny;

#[path = "../common/gguf.rs"]
mod draft;

use draft::Draft;

fn silent(_: u64, _: u64) {}

/// `tiny_a` with a tokenizer, as a GGUF file.
fn tiny_draft(folder: &Path) -> Draft {
    let (model, out) = (folder.join("model"), folder.join("whole.gguf"));
    tiny::write_model(&model, "tiny_a");
    export_gguf(&ModelFiles::open(&model).unwrap(), None, &out, &mut silent).unwrap();
    Draft::of(&out)
}

#[test]
fn a_model_in_parts_is_read_from_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let draft = tiny_draft(folder.path());
    let whole = ModelFiles::open(folder.path().join("whole.gguf")).unwrap();
    let n = draft.tensors.len();
    let parts = draft.write_parts(&folder.path().join("tiny"), &[0..3, 3..4, 4..n]);
    let got = ModelFiles::open(&parts[0]).unwrap();
    assert_eq!(got.config, whole.config);
    for name in whole.checkpoint.names() {
        let n = whole.checkpoint.info(name).unwrap().elements();
        let (got, want) =
            (got.checkpoint.read_f32(name, 0..n), whole.checkpoint.read_f32(name, 0..n));
        assert_bits(&got.unwrap(), &want.unwrap(), name);
    }
    let ids =
        |files: &ModelFiles| files.tokenizer().unwrap().encode("a price", Special::With).unwrap();
    assert_eq!(ids(&got), ids(&whole));
    let first = ["00002-of-00003.gguf", "part 2 of 3", "-00001-of-00003.gguf"];
    assert_error(GgufFile::open_path(&parts[1]), is_unsupported, &first);
    let alone = || Box::new(MemorySource::new("x.gguf", std::fs::read(&parts[0]).unwrap()));
    assert_error(GgufFile::open(alone()), is_unsupported, &["1 of the 3 files", "--merge"]);
    let renamed = folder.path().join("other.gguf");
    std::fs::copy(&parts[0], &renamed).unwrap();
    assert_error(GgufFile::open_path(&renamed), is_format, &["split.count", "00001-of-00003"]);
    std::fs::copy(&parts[1], &parts[2]).unwrap();
    assert_error(GgufFile::open_path(&parts[0]), is_format, &["split.no", "should be 2"]);
    std::fs::remove_file(&parts[2]).unwrap();
    let missing = ["split.count", "tiny-00003-of-00003.gguf", "download"];
    assert_error(GgufFile::open_path(&parts[0]), is_format, &missing);
    let fewer = draft.write_parts(&folder.path().join("fewer"), &[0..3, 3..n - 1]);
    assert_error(GgufFile::open_path(&fewer[0]), is_format, &["split.tensors.count"]);
    let twice = draft.write_parts(&folder.path().join("twice"), &[0..3, 2..n]);
    assert_error(GgufFile::open_path(&twice[0]), is_format, &["earlier part"]);
}

#[test]
fn keys_that_nobody_reads_are_named_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let draft = tiny_draft(folder.path());
    let notes = |draft: Draft| {
        draft.write(&path);
        GgufFile::open_path(&path).unwrap().notes()
    };
    assert!(notes(draft.clone()).is_empty(), "of our own files");
    let float = GgufField::F32;
    let more = draft
        .set("llama.logit_scale", float(2.0))
        .set("quantize.imatrix.file", GgufField::Text("x".into()))
        .set("general.license.link", GgufField::Text("x".into()))
        .set("general.sampling.temp", float(0.7));
    let [unread, sampling] = notes(more).try_into().unwrap();
    assert!(unread.ends_with("llama.logit_scale, quantize.imatrix.file"), "{unread}");
    assert!(sampling.ends_with("general.sampling.temp"), "{sampling}");
}

/// A byte-level vocabulary with these tokens behind its bytes, in a file of `tiny_a`.
fn with_tokens(folder: &Path, extra: &[(&str, i32)]) -> Draft {
    let draft = tiny_draft(folder);
    let mut tokens = list(&draft, "tokens");
    let mut kinds = vec![1; tokens.len()];
    let at = tokens.len() - extra.len();
    for (id, token) in tokens.iter_mut().enumerate().take(3) {
        *token = format!("<{id}>");
    }
    for (i, (text, kind)) in extra.iter().enumerate() {
        (tokens[at + i], kinds[at + i]) = ((*text).to_owned(), *kind);
    }
    let draft = draft.set("tokenizer.ggml.tokens", GgufField::Texts(tokens));
    draft.set("tokenizer.ggml.token_type", GgufField::I32s(kinds))
}

fn list(draft: &Draft, key: &str) -> Vec<String> {
    let key = format!("tokenizer.ggml.{key}");
    match draft.fields.iter().find(|(name, _)| *name == key).map(|(_, field)| field) {
        Some(GgufField::Texts(texts)) => texts.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn generations_end_where_llama_cpp_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let ends = |extra: &[(&str, i32)], eos: u32, keys: &[(&str, u32)]| {
        let mut draft = with_tokens(folder.path(), extra);
        let first = list(&draft, "tokens").len() - extra.len();
        for (key, at) in keys.iter().chain([&("eos", eos)]) {
            let id = GgufField::U32(first as u32 + at);
            draft = draft.set(&format!("tokenizer.ggml.{key}_token_id"), id);
        }
        draft.write(&path);
        let files = ModelFiles::open(&path).unwrap();
        let special = files.tokenizer().unwrap().encode(extra[0].0, Special::Without).unwrap();
        let ends: Vec<u32> =
            files.config.eos_token_ids.iter().map(|id| id - first as u32).collect();
        (ends, special == [first as u32])
    };
    // By text, whatever the type; the last one is EOS and comes first.
    let chat = [("<|im_end|>", 1), ("<|endoftext|>", 3), ("<x>", 3)];
    assert_eq!(ends(&chat, 2, &[]), (vec![2, 0, 1], true));
    // Tokens around code: the places to be filled and files end a text, what stands before and
    // behind them does not.
    let code = [("<|fim_prefix|>", 1), ("<|fim_pad|>", 3), ("<reponame>", 1), ("<|file_sep|>", 3)];
    assert_eq!(ends(&code, 0, &[]).0, [0, 1, 2, 3]);
    assert_eq!(ends(&code, 1, &[("fim_pad", 0)]).0, [1, 0, 2, 3]);
    assert_eq!(ends(&[("<a>", 3), ("<b>", 3)], 0, &[("eot", 1)]).0, [0, 1]);
    // Parts of turns in some vocabularies.
    let harmony = [("<|end|>", 3), ("<|return|>", 3), ("<|call|>", 3)];
    assert_eq!(ends(&harmony, 1, &[]).0, [1, 2]);
    assert_eq!(ends(&[("</s>", 3), ("<|tool_response>", 3)], 1, &[]), (vec![1], false));
}

/// The keys of the SentencePiece fixture.
fn sentencepiece(folder: &Path) -> (Draft, Value) {
    let bytes = std::fs::read(fixtures().join("spm/spm.json")).unwrap();
    let golden: Value = serde_json::from_slice(&bytes).unwrap();
    let list = |key: &str| golden[key].as_array().unwrap();
    let tokens = list("tokens").iter().map(|t| t.as_str().unwrap().to_owned()).collect();
    let scores = list("scores").iter().map(|s| s.as_f64().unwrap() as f32).collect();
    let types = list("types").iter().map(|t| t.as_i64().unwrap() as i32).collect();
    let draft = tiny_draft(folder)
        .set("tokenizer.ggml.model", GgufField::Text("llama".into()))
        .set("tokenizer.ggml.tokens", GgufField::Texts(tokens))
        .set("tokenizer.ggml.scores", GgufField::F32s(scores))
        .set("tokenizer.ggml.token_type", GgufField::I32s(types))
        .without("tokenizer.ggml.add_bos_token")
        .without("tokenizer.ggml.bos_token_id")
        .without("tokenizer.ggml.eos_token_id")
        .without("tokenizer.ggml.padding_token_id");
    (draft, golden)
}

#[test]
fn a_sentencepiece_vocabulary_that_is_written_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let (draft, golden) = sentencepiece(folder.path());
    for prefix in [true, false] {
        draft.clone().set("tokenizer.ggml.add_space_prefix", GgufField::Bool(prefix)).write(&path);
        let first = GgufFile::open_path(&path).unwrap();
        let tokenizer = first.tokenizer().unwrap();
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(1), Some(2)), "where no key is");
        let rows = golden["tokens"].as_array().unwrap().len();
        let fields = tokenizer_fields(&tokenizer, rows + 3).unwrap();
        let again = fields.into_iter().fold(draft.clone(), |d, (key, field)| d.set(&key, field));
        again.write(&path);
        let second = GgufFile::open_path(&path).unwrap();
        assert_eq!(second.metadata()["tokenizer.ggml.model"], GgufValue::Text("llama".into()));
        let written = second.tokenizer().unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let ids = tokenizer.encode(text, Special::With).unwrap();
            assert_eq!(written.encode(text, Special::With).unwrap(), ids, "{text:?}");
            assert_eq!(
                written.decode(&ids, Special::Without).unwrap(),
                tokenizer.decode(&ids, Special::Without).unwrap()
            );
            if prefix {
                assert_eq!(json!(ids[1..]), case["ids"], "{text:?}");
            }
        }
        // Metaspace is another way to write the same.
        let mut json: Value = serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
        json["normalizer"] = Value::Null;
        let scheme = if prefix { "first" } else { "never" };
        json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
        let of = |json: &Value| {
            let tokenizer = Tokenizer::from_bytes("tokenizer.json", json.to_string().as_bytes());
            tokenizer_fields(&tokenizer.unwrap(), rows)
        };
        let fields = of(&json).unwrap();
        let prefix = ("tokenizer.ggml.add_space_prefix".to_owned(), GgufField::Bool(prefix));
        assert!(fields.contains(&prefix));
        // Merges in an order that no scores give, and steps that llama.cpp does not take.
        let mut swapped = json.clone();
        let merges = swapped["model"]["merges"].as_array_mut().unwrap();
        merges.pop();
        assert_error(of(&swapped), is_unsupported, &["scores"]);
        json["normalizer"] = json!({"type": "Lowercase"});
        assert_error(of(&json), is_unsupported, &["normalizer"]);
    }
}

#[test]
fn equal_scores_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let (draft, golden) = sentencepiece(folder.path());
    let n = golden["tokens"].as_array().unwrap().len();
    draft.set("tokenizer.ggml.scores", GgufField::F32s(vec![-1.0; n])).write(&path);
    let file = GgufFile::open_path(&path).unwrap();
    assert_error(file.tokenizer(), is_unsupported, &["of one score", "tokenizer.json"]);
}

#[test]
fn tokens_beyond_the_embedding_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("x.gguf"));
    tiny::write_model(&model, "tiny_a");
    let rows = ModelFiles::open(&model).unwrap().config.vocab_size;
    let path = model.join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let special = |id: usize, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    // Three special tokens, 256 bytes, and as many more as rows are left.
    let added = json["added_tokens"].as_array_mut().unwrap();
    added.extend((259..rows).map(|id| special(id, &format!("<{id}>"))));
    added.push(special(rows, "[PAD]"));
    std::fs::write(&path, json.to_string()).unwrap();
    std::fs::write(model.join("tokenizer_config.json"), r#"{"pad_token": "[PAD]"}"#).unwrap();
    let files = ModelFiles::open(&model).unwrap();
    assert_eq!(files.tokenizer().unwrap().pad_id(), Some(rows as u32));
    export_gguf(&files, None, &out, &mut silent).unwrap();
    let file = GgufFile::open_path(&out).unwrap();
    let GgufValue::Texts(tokens) = &file.metadata()["tokenizer.ggml.tokens"] else { panic!() };
    assert_eq!(tokens.len(), rows, "llama.cpp wants a token for each row");
    assert!(!file.metadata().contains_key("tokenizer.ggml.padding_token_id"));
    let (got, want) = (file.tokenizer().unwrap(), files.tokenizer().unwrap());
    assert_eq!(
        got.encode("a price", Special::With).unwrap(),
        want.encode("a price", Special::With).unwrap()
    );
}
