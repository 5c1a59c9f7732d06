//! What `generate` writes: stop texts over special tokens and over the prompt's end, broken bytes,
//! first spaces, and the tokens that a tokenizer puts around a prompt. Ids and texts are those of
//! transformers 5.24 on the model of the repository.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::program::{Done, Place, edit_json};

/// A place whose model is the repository's, with other settings beside it.
fn embedded(settings: impl FnOnce(&Place)) -> Place {
    let place = Place::new();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/model");
    for file in fs::read_dir(assets).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), place.path("model").join(file.file_name())).unwrap();
    }
    settings(&place);
    place
}

fn generate(place: &Place, prompt: &str, more: &[&str]) -> Value {
    let args = ["generate", "--json", "--model", "model", "--quant", "none", "--prompt", prompt];
    place.run(&[&args[..], more].concat()).lines().pop().unwrap()
}

/// The vocabulary as a SentencePiece model's: "▁" for spaces, bytes where letters of GPT-2's
/// alphabet were, three of them in the place of tokens that the model is fond of.
fn byte_fallback(place: &Place) {
    edit_json(&place.path("model/tokenizer.json"), |tokenizer| {
        let vocab = tokenizer["model"]["vocab"].as_object().unwrap().clone();
        let fond = [(283, 0xA9), (437, 0xE4), (1225, 0xC3)];
        let mut bytes = (0..=255u8).filter(|byte| fond.iter().all(|(_, b)| b != byte));
        let mut made = Map::new();
        for (token, id) in &vocab {
            let id = id.as_u64().unwrap();
            let byte = match fond.iter().find(|(at, _)| *at == id) {
                Some((_, byte)) => Some(*byte),
                None if (1780..2033).contains(&id) => bytes.next(),
                None => None,
            };
            let text = token.replace('Ġ', "▁");
            let name = match byte {
                Some(byte) => format!("<0x{byte:02X}>"),
                None if text.chars().all(|c| c.is_ascii() || c == '▁') => text,
                None => format!("<extra_{id}>"),
            };
            made.insert(name, id.into());
        }
        let has = |text: &str| made.contains_key(text);
        let merges = tokenizer["model"]["merges"].as_array().unwrap().iter().filter_map(|pair| {
            let (a, b) = match pair {
                Value::String(text) => text.split_once(' ')?,
                pair => (pair[0].as_str()?, pair[1].as_str()?),
            };
            let (a, b) = (a.replace('Ġ', "▁"), b.replace('Ġ', "▁"));
            (has(&a) && has(&b) && has(&format!("{a}{b}"))).then(|| json!([a, b]))
        });
        let merges: Vec<Value> = merges.collect();
        let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let back = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
        tokenizer["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]});
        tokenizer["pre_tokenizer"] = Value::Null;
        tokenizer["decoder"] = json!({"type": "Sequence", "decoders": [
            back, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
        let model = &mut tokenizer["model"];
        (model["vocab"], model["merges"]) = (made.into(), merges.into());
        model["byte_fallback"] = true.into();
    });
}

#[test]
fn stop_texts_see_special_tokens() {
    let place = embedded(|place| {
        for file in ["config.json", "generation_config.json"] {
            edit_json(&place.path("model").join(file), |c| c["eos_token_id"] = 2047.into());
        }
        let config = place.path("model/tokenizer_config.json");
        edit_json(&config, |c| c["eos_token"] = "<|pad|>".into());
    });
    let stopped =
        |stop: &str| generate(&place, "5 + 5 =", &["--max-new-tokens", "20", "--stop", stop]);
    // The text is that before the stop text, wherever it begins.
    for (stop, text) in
        [("<|end_of_text|>", " 0"), ("0<|end", " "), ("of_text", " 0"), ("= 0<|", "")]
    {
        let answer = stopped(stop);
        assert_eq!(answer["ids"], json!([220, 15, 2046]), "{stop}");
        assert_eq!((&answer["text"], &answer["finish"]), (&text.into(), &"stop".into()), "{stop}");
    }
    assert_eq!(stopped("5 =")["finish"], "length", "the prompt alone stops nothing");
}

#[test]
fn broken_bytes_are_written_and_what_follows_them_too() {
    let place = embedded(byte_fallback);
    let more = ["--max-new-tokens", "14", "--stop", "Rent"];
    let answer = generate(&place, "item 3 costs $", &more);
    assert_eq!(answer["ids"], json!([1225, 283, 437, 283, 437, 17, 25, 440]));
    assert_eq!(answer["text"], "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}2: ");
    assert_eq!(answer["finish"], "stop");
    // The stream says the same, and several answers do.
    let stream = ["generate", "--model", "model", "--quant", "none", "--prompt", "item 3 costs $"];
    let Done { out, .. } = place.run(&[&stream[..], &more[..]].concat());
    assert_eq!(out.trim_end_matches('\n'), answer["text"].as_str().unwrap());
    let two = generate(&place, "item 3 costs $", &[&more[..], &["--n", "2"]].concat());
    assert_eq!((&two["text"], &two["ids"]), (&answer["text"], &answer["ids"]));
}

#[test]
fn a_continuation_keeps_its_first_space() {
    let place = embedded(byte_fallback);
    let answer = |more: &[&str]| {
        generate(&place, "A dog is", &[&["--max-new-tokens", "8"][..], more].concat())
    };
    let stopped = answer(&["--stop", " 720"]);
    assert_eq!(stopped["ids"], json!([220, 1765]));
    assert_eq!((&stopped["text"], &stopped["finish"]), (&"".into(), &"stop".into()));
    let whole = answer(&[]);
    assert!(whole["text"].as_str().unwrap().starts_with(" 720 "), "{whole}");
}

#[test]
fn what_a_tokenizer_puts_around_a_prompt_is_said() {
    let place = embedded(|place| {
        edit_json(&place.path("model/tokenizer.json"), |tokenizer| {
            let post = &mut tokenizer["post_processor"];
            let end = json!({"SpecialToken": {"id": "<|end_of_text|>", "type_id": 0}});
            post["single"].as_array_mut().unwrap().push(end);
            post["special_tokens"]["<|end_of_text|>"] = json!({
                "id": "<|end_of_text|>", "ids": [2046], "tokens": ["<|end_of_text|>"]});
        });
    });
    let plain = embedded(|_| {});
    let of = |place: &Place, prompt: &str| {
        let args = ["generate", "--json", "--model", "model", "--max-new-tokens", "3"];
        let done = place.run(&[&args[..], &["--prompt", prompt]].concat());
        let err = done.err.clone();
        (done.lines().pop().unwrap(), err)
    };
    let (expected, silent) = of(&plain, "5 + 5 =");
    assert!(!silent.contains("twice") && !silent.contains("left off"), "{silent}");
    let (answer, said) = of(&place, "5 + 5 =");
    assert_eq!(answer["ids"], expected["ids"]);
    assert_eq!(answer["prompt_tokens"], 6);
    assert!(said.contains("`<|end_of_text|>`: left off behind the prompt"), "{said}");
    // One that the prompt's own text ends in stays.
    let (answer, _) = of(&place, "5 + 5 =<|end_of_text|>");
    assert_eq!(answer["prompt_tokens"], 7);
    // As llama.cpp: both stay, a line says it.
    let (answer, said) = of(&plain, "<|begin_of_text|>5 + 5 =");
    assert_eq!(answer["prompt_tokens"], 7);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("twice")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains("`<|begin_of_text|>`"), "{said}");
}
