//! Chat templates of published models, rendered as transformers renders them.

use serde_json::Value;
use wgpu_lora::data::{Dataset, DatasetOptions};
use wgpu_lora::format::{ChatTemplate, Conversation, Tokenizer};

#[test]
fn chats_are_rendered_as_transformers_renders_them() {
    let mut cases = 0;
    for name in ["llama3", "llama3_2", "smollm2", "mistral_nemo", "qwen2_5"] {
        let path = crate::fixtures().join("chat").join(format!("{name}.json"));
        let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let text = |key: &str| golden[key].as_str().unwrap();
        let template =
            ChatTemplate::new(name, text("template"), text("bos_token"), text("eos_token"))
                .unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let messages = case["messages"].as_array().unwrap();
            let prompt = case["add_generation_prompt"].as_bool().unwrap();
            let conversation =
                Conversation { messages, add_generation_prompt: prompt, ..Conversation::default() };
            match (template.render(&conversation), case["text"].as_str()) {
                (Ok(got), Some(expected)) => assert_eq!(got.text, expected, "{name}: {messages:?}"),
                (Err(got), None) => {
                    let (got, expected) = (got.to_string(), case["error"].as_str().unwrap());
                    assert!(got.contains(expected) && got.contains(name), "{got}");
                }
                (got, expected) => panic!("{name}: {got:?}, expected {expected:?}"),
            }
            cases += 1;
        }
    }
    assert_eq!(cases, 60);
}

/// A byte-level tokenizer with the special tokens of `golden`, and its template.
fn tokenizer(golden: &Value, special: &[&str]) -> Tokenizer {
    let mut json: Value = serde_json::from_str(&crate::tiny::tokenizer_json()).unwrap();
    let template = json["added_tokens"][0].clone();
    let added = json["added_tokens"].as_array_mut().unwrap();
    for (i, token) in special.iter().enumerate() {
        let mut entry = template.clone();
        (entry["id"], entry["content"]) = ((259 + i).into(), (*token).into());
        added.push(entry);
    }
    let mut tokenizer = Tokenizer::from_bytes("t", json.to_string().as_bytes()).unwrap();
    tokenizer.set_chat_template("t", golden["template"].as_str().unwrap().into());
    tokenizer
}

#[test]
fn the_assistants_words_and_the_end_of_its_turn_are_targets_in_every_template() {
    let special = [
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|im_start|>",
        "<|im_end|>",
    ];
    let row = br#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "one"},
        {"role": "user", "content": "r"}, {"role": "assistant", "content": "two"}]}"#;
    let row: Vec<u8> = row.iter().copied().filter(|b| *b != b'\n').collect();
    for (name, end) in [
        ("llama3", "<|eot_id|>"),
        ("llama3_2", "<|eot_id|>"),
        ("smollm2", "<|im_end|>"),
        ("qwen2_5", "<|im_end|>"),
    ] {
        let path = crate::fixtures().join("chat").join(format!("{name}.json"));
        let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let tokenizer = tokenizer(&golden, &special);
        let options = DatasetOptions { max_length: 4096, ..DatasetOptions::default() };
        let data = Dataset::from_text("d", &row, &tokenizer, &options).unwrap();
        let found = data.row(0).unwrap();
        let said: Vec<String> = found
            .spans
            .iter()
            .map(|&(a, b)| tokenizer.decode(&found.ids[a as usize..b as usize], false).unwrap())
            .collect();
        assert_eq!(said, [format!("one{end}"), format!("two{end}")], "{name}");
    }
}
