//! Text to tokens and back, against ids of the real tokenizers and with a byte tokenizer made here.

use serde_json::{Value, json};
use wgpu_lora::format::{Beside, DecodeStream, Special, Tokenizer};

use super::*;

/// The character that stands for a byte in byte-level vocabularies (GPT-2's table).
fn byte_char(byte: u8) -> char {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if plain(byte) {
        return char::from(byte);
    }
    let shifted = (0..byte).filter(|b| !plain(*b)).count() as u32;
    char::from_u32(256 + shifted).unwrap()
}

/// One token per byte (its id), the token `ab` (256), and two special tokens; the first is put
/// before every text.
fn byte_tokenizer() -> Value {
    let mut vocab: serde_json::Map<String, Value> =
        (0..=255u8).map(|b| (byte_char(b).to_string(), b.into())).collect();
    vocab.insert("ab".into(), 256.into());
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": [special(257, "<bos>"), special(258, "<eos>")],
        "normalizer": null,
        "pre_tokenizer": bytes,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [257], "tokens": ["<bos>"]}},
        },
        "decoder": bytes,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": [["a", "b"]]},
    })
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_bytes("bytes", byte_tokenizer().to_string().as_bytes()).unwrap()
}

#[test]
fn encoding_and_decoding() {
    let t = tokenizer();
    let text = "cab \u{1F642} né";
    let ids = t.encode(text, Special::Without).unwrap();
    let mut bytes: Vec<u32> = text.bytes().map(u32::from).collect();
    bytes.splice(1..3, [256]);
    assert_eq!(ids, bytes, "neither cut to 5 tokens nor padded to 12");
    assert_eq!(t.decode(&ids, Special::Without).unwrap(), text);
    assert_eq!(t.encode("ab", Special::With).unwrap(), [257, 256]);
    assert_eq!(t.encode("a<eos>b", Special::Without).unwrap(), [97, 258, 98]);
    assert_eq!(t.decode(&[257, 97, 258], Special::Without).unwrap(), "a");
    assert_eq!(t.decode(&[257, 97, 258], Special::With).unwrap(), "<bos>a<eos>");
    assert_eq!(t.decode(&[97, 9999], Special::Without).unwrap(), "a");
    assert_eq!((t.vocab_size(), t.token_to_id("<eos>")), (259, Some(258)));
    assert_eq!((t.token_to_id("no"), t.id_to_token(256)), (None, Some("ab".into())));
    assert_eq!(t.encode("", Special::With).unwrap(), [257]);
}

#[test]
fn special_tokens_come_from_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_error(Tokenizer::from_file(path), is_io, &["tokenizer.json"]);
    std::fs::write(path.join("tokenizer.json"), byte_tokenizer().to_string()).unwrap();
    let t = Tokenizer::from_file(path).unwrap();
    // The file pads with `!`.
    assert_eq!((t.bos_id(), t.eos_id(), t.pad_id()), (None, None, Some(33)));
    let config =
        r#"{"bos_token":{"content":"<bos>","lstrip":false},"eos_token":"<eos>","pad_token":null}"#;
    std::fs::write(path.join("tokenizer_config.json"), config).unwrap();
    for path in [path.to_path_buf(), path.join("tokenizer.json")] {
        let t = Tokenizer::from_file(path).unwrap();
        assert_eq!((t.bos_id(), t.eos_id(), t.pad_id()), (Some(257), Some(258), None));
    }
    // GPT-2's class says that it has no padding, whatever the file pads with.
    let config = r#"{"tokenizer_class":"GPT2Tokenizer"}"#;
    std::fs::write(path.join("tokenizer_config.json"), config).unwrap();
    assert_eq!(Tokenizer::from_file(path).unwrap().pad_id(), None);
    assert_error(Tokenizer::from_bytes("bad.json", b"{}"), is_format, &["bad.json"]);
    assert_error(Tokenizer::from_bytes("bad.json", &[255; 9]), is_format, &["bad.json"]);
}

/// The byte tokenizer with files beside it.
fn beside(config: Value, map: Option<Value>, added: Option<Value>, model: Value) -> Tokenizer {
    let mut t = tokenizer();
    let bytes = |value: &Value| value.to_string().into_bytes();
    let (config, model) = (bytes(&config), bytes(&model));
    let (map, added) = (map.as_ref().map(bytes), added.as_ref().map(bytes));
    t.apply(Beside {
        config: Some(("tokenizer_config.json", &config)),
        special_tokens_map: map.as_deref().map(|bytes| ("special_tokens_map.json", bytes)),
        added_tokens: added.as_deref().map(|bytes| ("added_tokens.json", bytes)),
        model: Some(("config.json", &model)),
    })
    .unwrap();
    t
}

/// Ids as `AutoTokenizer` of transformers 5.24 gives them.
#[test]
fn tokens_are_added_from_every_place_that_transformers_knows() {
    let token = |content: &str| json!({"content": content, "lstrip": true, "rstrip": true, "normalized": false, "single_word": false, "special": true});
    let llama = || json!({"model_type": "llama"});
    let ids = |t: &Tokenizer| t.encode("a <|im_end|> b", Special::Without).unwrap();
    let listed =
        json!({"added_tokens_decoder": {"257": token("<bos>"), "300": token("<|im_end|>")}});
    let maps = json!({"eos_token": token("<|im_end|>")});
    let none = || json!({});
    for (place, t) in [
        ("added_tokens_decoder", beside(listed, None, None, llama())),
        ("special_tokens_map.json", beside(none(), Some(maps), None, llama())),
        (
            "eos_token",
            beside(
                json!({"eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "lstrip": true, "rstrip": true}}),
                None,
                None,
                llama(),
            ),
        ),
    ] {
        assert_eq!(ids(&t), [97, 259, 98], "{place}");
        assert_eq!(t.decode(&[97, 259], Special::Without).unwrap(), "a", "{place}");
        assert_eq!(t.vocab_size(), 260, "{place}");
    }
    let spaced = [97, 32, 259, 32, 98];
    for (place, t) in [
        ("added_tokens.json", beside(none(), None, Some(json!({"<|im_end|>": 259})), llama())),
        ("extra", beside(json!({"extra_special_tokens": ["<|im_end|>"]}), None, None, llama())),
        (
            "named",
            beside(json!({"extra_special_tokens": {"x_token": "<|im_end|>"}}), None, None, llama()),
        ),
        (
            "additional",
            beside(json!({"additional_special_tokens": ["<|im_end|>"]}), None, None, llama()),
        ),
        ("own", beside(json!({"image_token": "<|im_end|>"}), None, None, llama())),
        ("pad", beside(json!({"pad_token": "<|im_end|>"}), None, None, llama())),
    ] {
        assert_eq!(ids(&t), spaced, "{place}");
    }
    // Tokens of the file keep their ids, and get the flags that are said last.
    let t = beside(json!({"added_tokens_decoder": {"258": token("<eos>")}}), None, None, llama());
    assert_eq!(t.encode("a <eos> b", Special::Without).unwrap(), [97, 258, 98]);
    let t = beside(json!({"split_special_tokens": true}), None, None, llama());
    assert_eq!(t.encode("<eos>", Special::Without).unwrap().len(), 5);
}

#[test]
fn the_class_builds_its_own_pipeline_as_in_transformers() {
    let gpt2 = json!({"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": true});
    let t = beside(gpt2, None, None, json!({"model_type": "llama"}));
    assert_eq!(t.encode("ab", Special::Without).unwrap(), [32, 256]);
    let t = beside(json!({}), None, None, json!({"model_type": "qwen2"}));
    assert_eq!(t.encode("e\u{301}", Special::Without).unwrap(), [0xC3, 0xA9], "NFC");
    assert_eq!(t.eos_id().and_then(|id| t.id_to_token(id)).as_deref(), Some("<|endoftext|>"));
    assert!(t.notes()[0].contains("Qwen2Tokenizer"), "{:?}", t.notes());
    // A file that speaks of bytes is taken as it is, and Mistral's always.
    for (class, model) in
        [("LlamaTokenizer", "llama"), ("Qwen2Tokenizer", "mistral"), ("Own", "llama")]
    {
        let t = beside(json!({"tokenizer_class": class}), None, None, json!({"model_type": model}));
        assert_eq!(t.encode("e\u{301}", Special::Without).unwrap(), [0x65, 0xCC, 0x81], "{class}");
    }
    let refused =
        |config: &str| tokenizer().apply_config("tokenizer_config.json", config.as_bytes());
    assert_error(
        refused(r#"{"tokenizer_class":"T5TokenizerFast"}"#),
        is_unsupported,
        &["T5Tokenizer"],
    );
    let code = r#"{"auto_map":{"AutoTokenizer":["a.B",null]}}"#;
    assert_error(refused(code), is_unsupported, &["auto_map"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.model"), "x").unwrap();
    assert_error(Tokenizer::from_file(folder.path()), is_unsupported, &["tokenizer.model"]);
}

/// All pieces of a stream; each is whole text by type, so half a character would be a replacement
/// character.
fn stream(t: &Tokenizer, ids: &[u32], special: Special) -> (Vec<String>, String) {
    let mut stream = DecodeStream::new(special);
    let pieces = ids.iter().filter_map(|id| stream.step(t, *id).unwrap()).collect();
    (pieces, stream.finish(t).unwrap())
}

#[test]
fn streams_never_give_half_a_character() {
    let t = tokenizer();
    let text = "né \u{1F642}\u{6771}!";
    let ids = t.encode(text, Special::With).unwrap();
    let (pieces, rest) = stream(&t, &ids, Special::Without);
    assert_eq!(pieces, ["n", "é", " ", "\u{1F642}", "\u{6771}", "!"]);
    assert_eq!(rest, "");
    // Cut off inside a character: the rest is held back and given, marked as broken, at the end.
    let (pieces, rest) = stream(&t, &ids[..ids.len() - 2], Special::Without);
    assert_eq!(pieces.concat(), "né \u{1F642}");
    assert_eq!(rest, "\u{FFFD}");
    // Bytes that are no UTF-8 are held back until the text is whole again, and nothing is lost.
    let broken = [97, 0xFF, 0xFF, 0xFE, 0xF0, 0x9F, 0x99, 0x82, 98];
    let (pieces, rest) = stream(&t, &broken, Special::Without);
    assert_eq!(pieces.concat() + &rest, t.decode(&broken, Special::Without).unwrap());
    assert!(pieces.concat().contains('\u{1F642}'));
    let special = [257, 97, 258, 98];
    assert_eq!(stream(&t, &special, Special::Without).0.concat(), "ab");
    assert_eq!(stream(&t, &special, Special::With).0.concat(), "<bos>a<eos>b");
}

/// The real tokenizers are too large for the repository; `WGPU_LORA_GOLDEN` brings them, each
/// beside its set.
#[test]
fn real_tokenizers_give_the_ids_of_the_python_package() {
    let Some(set) = large_golden() else { return };
    let mut checked = 0;
    for name in ["smollm2", "llama3"] {
        let text = std::fs::read(set.join(format!("tokenizer/{name}.json"))).unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap();
        let path = set.join("..").join(json["tokenizer"].as_str().unwrap());
        if !path.is_file() {
            continue;
        }
        let t = Tokenizer::from_file(path).unwrap();
        for case in json["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let want: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            assert_eq!(t.encode(text, Special::Without).unwrap(), want, "{name}: {text:?}");
            let decoded = case["decoded"].as_str().unwrap();
            let (pieces, rest) = stream(&t, &want, Special::With);
            let whole = t.decode(&want, Special::With).unwrap();
            assert_eq!(pieces.concat() + &rest, whole, "{name}: {text:?}");
            assert!(
                whole == decoded || t.decode(&want, Special::Without).unwrap() == decoded,
                "{text:?}"
            );
            checked += 1;
        }
    }
    assert!(checked > 100, "no tokenizer beside {}", set.display());
}
