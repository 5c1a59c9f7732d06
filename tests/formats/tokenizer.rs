//! Text to tokens and back, against ids of the real tokenizers and with a byte tokenizer made here.

use serde_json::{Value, json};
use wgpu_lora::format::{DecodeStream, Tokenizer};

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

/// One token per byte (its id), the token `ab` (256), and two special tokens; the first is put before every text.
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
    let ids = t.encode(text, false).unwrap();
    let mut bytes: Vec<u32> = text.bytes().map(u32::from).collect();
    bytes.splice(1..3, [256]);
    assert_eq!(ids, bytes, "neither cut to 5 tokens nor padded to 12");
    assert_eq!(t.decode(&ids, true).unwrap(), text);
    assert_eq!(t.encode("ab", true).unwrap(), [257, 256]);
    assert_eq!(t.encode("a<eos>b", false).unwrap(), [97, 258, 98]);
    assert_eq!(t.decode(&[257, 97, 258], true).unwrap(), "a");
    assert_eq!(t.decode(&[257, 97, 258], false).unwrap(), "<bos>a<eos>");
    assert_eq!(t.decode(&[97, 9999], true).unwrap(), "a");
    assert_eq!((t.vocab_size(), t.token_to_id("<eos>")), (259, Some(258)));
    assert_eq!((t.token_to_id("no"), t.id_to_token(256)), (None, Some("ab".into())));
    assert_eq!(t.encode("", true).unwrap(), [257]);
}

#[test]
fn special_tokens_come_from_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_error(Tokenizer::from_file(path), is_io, &["tokenizer.json"]);
    std::fs::write(path.join("tokenizer.json"), byte_tokenizer().to_string()).unwrap();
    let t = Tokenizer::from_file(path).unwrap();
    assert_eq!((t.bos_id(), t.eos_id(), t.pad_id()), (None, None, None));
    let config =
        r#"{"bos_token":{"content":"<bos>","lstrip":false},"eos_token":"<eos>","pad_token":null}"#;
    std::fs::write(path.join("tokenizer_config.json"), config).unwrap();
    for path in [path.to_path_buf(), path.join("tokenizer.json")] {
        let t = Tokenizer::from_file(path).unwrap();
        assert_eq!((t.bos_id(), t.eos_id(), t.pad_id()), (Some(257), Some(258), None));
    }
    assert_error(Tokenizer::from_bytes("bad.json", b"{}"), is_format, &["bad.json"]);
    assert_error(Tokenizer::from_bytes("bad.json", &[255; 9]), is_format, &["bad.json"]);
}

/// All pieces of a stream; each is whole text by type, so half a character would be a replacement character.
fn stream(t: &Tokenizer, ids: &[u32], skip_special: bool) -> (Vec<String>, String) {
    let mut stream = DecodeStream::new(skip_special);
    let pieces = ids.iter().filter_map(|id| stream.step(t, *id).unwrap()).collect();
    (pieces, stream.finish(t).unwrap())
}

#[test]
fn streams_never_give_half_a_character() {
    let t = tokenizer();
    let text = "né \u{1F642}\u{6771}!";
    let ids = t.encode(text, true).unwrap();
    let (pieces, rest) = stream(&t, &ids, true);
    assert_eq!(pieces, ["n", "é", " ", "\u{1F642}", "\u{6771}", "!"]);
    assert_eq!(rest, "");
    // Cut off inside a character: the rest is held back and given, marked as broken, at the end.
    let (pieces, rest) = stream(&t, &ids[..ids.len() - 2], true);
    assert_eq!(pieces.concat(), "né \u{1F642}");
    assert_eq!(rest, "\u{FFFD}");
    // Bytes that are no UTF-8 are held back until the text is whole again, and nothing is lost.
    let broken = [97, 0xFF, 0xFF, 0xFE, 0xF0, 0x9F, 0x99, 0x82, 98];
    let (pieces, rest) = stream(&t, &broken, true);
    assert_eq!(pieces.concat() + &rest, t.decode(&broken, true).unwrap());
    assert!(pieces.concat().contains('\u{1F642}'));
    let special = [257, 97, 258, 98];
    assert_eq!(stream(&t, &special, true).0.concat(), "ab");
    assert_eq!(stream(&t, &special, false).0.concat(), "<bos>a<eos>b");
}

/// The real tokenizers are too large for the repository; `WGPU_LORA_GOLDEN` brings them, each beside its set.
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
            assert_eq!(t.encode(text, false).unwrap(), want, "{name}: {text:?}");
            let decoded = case["decoded"].as_str().unwrap();
            let (pieces, rest) = stream(&t, &want, false);
            let whole = t.decode(&want, false).unwrap();
            assert_eq!(pieces.concat() + &rest, whole, "{name}: {text:?}");
            assert!(whole == decoded || t.decode(&want, true).unwrap() == decoded, "{text:?}");
            checked += 1;
        }
    }
    assert!(checked > 100, "no tokenizer beside {}", set.display());
}
