//! Text from tokens as they come is the text of all at once, whatever the decoder.

use serde_json::{Value, json};
use wgpu_lora::format::{DecodeStream, Special, Tokenizer};

const TOKENS: [&str; 28] = [
    "<s>", "</s>", "<tool>", "<0xC3>", "<0xA9>", "<0xE6>", "<0x9D>", "<0xB1>", "<0x41>", "▁", "▁▁",
    "▁a", "▁dog", "b", "Ġ", "Ã", "©", "Ġx", "é", "東", "\u{FFFD}", ".", "##s", "n't", "c</w>",
    "do", "not", "▁.",
];

/// A vocabulary that has something for every decoder; the first two tokens are special.
fn tokenizer(decoder: &Value) -> Tokenizer {
    let vocab: serde_json::Map<String, Value> =
        TOKENS.iter().enumerate().map(|(id, token)| ((*token).into(), id.into())).collect();
    let added = |id: usize| {
        json!({"id": id, "content": TOKENS[id], "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": id < 2})
    };
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(0), added(1), added(2)],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": true, "vocab": vocab, "merges": []},
    });
    Tokenizer::from_bytes("made", json.to_string().as_bytes()).unwrap()
}

fn decoders() -> Vec<Value> {
    let replace =
        |a: &str, b: &str| json!({"type": "Replace", "pattern": {"String": a}, "content": b});
    let sequence = |all: &[Value]| json!({"type": "Sequence", "decoders": all});
    let (fallback, fuse) = (json!({"type": "ByteFallback"}), json!({"type": "Fuse"}));
    let strip = |start: u32| json!({"type": "Strip", "content": " ", "start": start, "stop": 0});
    let space = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let mut all = vec![
        Value::Null,
        bytes.clone(),
        sequence(&[bytes, strip(1)]),
        sequence(&[replace("▁", " "), fallback.clone(), fuse.clone(), strip(1)]),
        sequence(&[replace("▁", " "), fallback.clone(), fuse.clone(), strip(3)]),
        sequence(&[fallback.clone(), fuse.clone(), replace("▁", " "), strip(1)]),
        sequence(&[replace("▁", " "), fallback.clone(), fuse.clone(), replace(" a", "!")]),
        sequence(&[fuse, fallback.clone()]),
        json!({"type": "BPEDecoder", "suffix": "</w>"}),
        // Stands within tokens and is one.
        json!({"type": "BPEDecoder", "suffix": "o"}),
        json!({"type": "BPEDecoder", "suffix": "▁"}),
        sequence(&[json!({"type": "BPEDecoder", "suffix": "o"}), strip(1)]),
    ];
    for scheme in ["always", "first", "never"] {
        all.extend([space(scheme), sequence(&[fallback.clone(), space(scheme)])]);
    }
    for cleanup in [false, true] {
        all.push(json!({"type": "WordPiece", "prefix": "##", "cleanup": cleanup}));
        all.push(json!({"type": "CTC", "pad_token": "<s>", "word_delimiter_token": "▁", "cleanup": cleanup}));
    }
    all
}

/// All pieces of a stream, joined.
fn joined(mut stream: DecodeStream, tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut text = String::new();
    for &id in ids {
        text += &stream.step(tokenizer, id).unwrap().unwrap_or_default();
    }
    text + &stream.finish(tokenizer).unwrap()
}

#[test]
fn pieces_joined_are_the_whole_text() {
    let mut state = 1u64;
    let mut random = |n: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for decoder in decoders() {
        let tokenizer = tokenizer(&decoder);
        for round in 0..400 {
            let n = 1 + random(24);
            let ids: Vec<u32> = (0..n).map(|_| random(TOKENS.len()) as u32).collect();
            let special = if round % 2 == 0 { Special::Without } else { Special::With };
            let whole = tokenizer.decode(&ids, special).unwrap();
            let at = format!("{decoder}: {ids:?}");
            assert_eq!(joined(DecodeStream::new(special), &tokenizer, &ids), whole, "{at}");
            // Behind a prompt it is the same text, without the prompt's.
            let (prompt, answer) = ids.split_at(random(n));
            let before = tokenizer.decode(prompt, special).unwrap();
            let after = DecodeStream::after(&tokenizer, prompt, special).unwrap();
            if let Some(rest) = whole.strip_prefix(&before) {
                assert_eq!(joined(after, &tokenizer, answer), rest, "{at} behind {prompt:?}");
            }
        }
    }
}

#[test]
fn a_run_of_bytes_is_text_as_a_whole_or_not_at_all() {
    let decoder = &decoders()[3];
    let t = tokenizer(decoder);
    let ids = |tokens: &[&str]| -> Vec<u32> {
        tokens.iter().map(|token| t.token_to_id(token).unwrap()).collect()
    };
    let run = ids(&["<0xC3>", "<0xA9>", "<0xE6>", "b", "▁dog"]);
    assert_eq!(
        joined(DecodeStream::new(Special::Without), &t, &run),
        "\u{FFFD}\u{FFFD}\u{FFFD}b dog"
    );
    // Nothing of it goes out before it is over.
    let mut stream = DecodeStream::new(Special::Without);
    let steps: Vec<Option<String>> = run.iter().map(|&id| stream.step(&t, id).unwrap()).collect();
    assert_eq!(steps[..3], [None, None, None]);
    assert_eq!(steps[3..], [Some("\u{FFFD}\u{FFFD}\u{FFFD}b".into()), Some(" dog".into())]);
    // A first space belongs to a continuation.
    let after = |prompt: &[&str]| DecodeStream::after(&t, &ids(prompt), Special::Without).unwrap();
    assert_eq!(joined(after(&["<s>", "b"]), &t, &ids(&["▁dog"])), " dog");
    assert_eq!(joined(after(&["<s>"]), &t, &ids(&["▁dog"])), "dog");
}

#[test]
fn what_a_token_adds_is_bytes() {
    let byte_level = tokenizer(&decoders()[1]);
    let of = |t: &Tokenizer, token: &str| t.token_bytes(t.token_to_id(token).unwrap()).unwrap();
    assert_eq!(of(&byte_level, "Ã"), [0xC3]);
    assert_eq!(of(&byte_level, "Ġx"), b" x");
    assert_eq!(of(&byte_level, "東"), "東".as_bytes());
    assert_eq!(of(&byte_level, "</s>"), b"</s>");
    let fallback = tokenizer(&decoders()[3]);
    assert_eq!(of(&fallback, "<0xC3>"), [0xC3]);
    assert_eq!(fallback.token_bytes(9999).unwrap(), b"");
}
