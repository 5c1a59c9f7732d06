//! Chat templates of published models, rendered as transformers renders them.

use serde_json::Value;
use wgpu_lora::data::{Dataset, DatasetOptions};
use wgpu_lora::format::{ChatTemplate, Conversation, Special, Tokenizer};

#[test]
fn chats_are_rendered_as_transformers_renders_them() {
    let mut cases = 0;
    for name in ["llama3", "llama3_2", "smollm2", "mistral_nemo", "qwen2_5"] {
        let path = crate::fixtures().join("chat").join(format!("{name}.json"));
        let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let text = |key: &str| golden[key].as_str().unwrap();
        let template =
            ChatTemplate::new(name, text("template"), text("bos_token"), text("eos_token"))
                .unwrap()
                .with_date("2024-07-26".parse().unwrap());
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
            .map(|&(a, b)| {
                tokenizer.decode(&found.ids[a as usize..b as usize], Special::With).unwrap()
            })
            .collect();
        assert_eq!(said, [format!("one{end}"), format!("two{end}")], "{name}");
    }
}

/// Qwen2.5's template, over bytes, as the model of the rows in `fixtures/rows`.
fn qwen() -> Tokenizer {
    let path = crate::fixtures().join("chat/qwen2_5.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    tokenizer(&golden, &["<|im_start|>", "<|im_end|>"])
}

fn rows(jsonl: &[u8], tokenizer: &Tokenizer) -> wgpu_lora::Result<Dataset> {
    let options = DatasetOptions { max_length: 4096, ..DatasetOptions::default() };
    Dataset::from_text("d.jsonl", jsonl, tokenizer, &options)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(crate::fixtures().join("rows").join(name)).unwrap()
}

#[test]
fn tools_are_the_templates_and_calls_are_targets() {
    let tokenizer = qwen();
    // The lengths and counts are those of transformers.
    let with = rows(&fixture("tools.jsonl"), &tokenizer).unwrap();
    assert_eq!(with.lengths(), [831]);
    let line = String::from_utf8(fixture("tools.jsonl")).unwrap();
    let mut record: Value = serde_json::from_str(&line).unwrap();
    record["tools"] = record["tools"].to_string().into();
    let text = rows(record.to_string().as_bytes(), &tokenizer).unwrap();
    assert_eq!(text.lengths(), [831]);
    record["tools"] = Value::Null;
    let without = rows(record.to_string().as_bytes(), &tokenizer).unwrap();
    assert_eq!(without.lengths(), [268]);
    let calls = rows(&fixture("calls.jsonl"), &tokenizer).unwrap();
    assert_eq!(calls.targets().collect::<Vec<_>>(), [151, 88]);
    let row = calls.row(1).unwrap();
    let said = &row.ids[row.spans[0].0 as usize..row.spans[0].1 as usize];
    let said = tokenizer.decode(said, Special::With).unwrap();
    assert!(said.starts_with("Let me look.\n<tool_call>"), "{said}");
    assert!(said.ends_with("</tool_call><|im_end|>"), "{said}");
}

#[test]
fn a_tokenizer_that_ends_texts_ends_rows_once_and_prompts_never() {
    let mut json: Value = serde_json::from_str(&crate::tiny::tokenizer_json()).unwrap();
    let special =
        |name: &str, id: u32| serde_json::json!({"id": name, "ids": [id], "tokens": [name]});
    let piece = |name: &str| serde_json::json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = serde_json::json!({"Sequence": {"id": "A", "type_id": 0}});
    json["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing", "single": [piece("<s>"), text, piece("</s>")], "pair": [text],
        "special_tokens": {"<s>": special("<s>", 1), "</s>": special("</s>", 2)},
    });
    let mut tokenizer = Tokenizer::from_bytes("t", json.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode_open("a").unwrap(), (vec![1, 100], vec![2]));
    assert_eq!(tokenizer.encode_open("").unwrap(), (vec![1], vec![2]));
    assert_eq!(tokenizer.encode_open("a</s>").unwrap(), (vec![1, 100, 2], vec![2]));
    let two = br#"{"prompt":"a","completion":"5"}
{"prompt":"<s>c","completion":"6</s>"}"#;
    for config in [r#"{"eos_token": "</s>", "bos_token": "<s>"}"#, "{}"] {
        tokenizer.apply_config("c", config.as_bytes()).unwrap();
        let data = rows(two, &tokenizer).unwrap();
        assert_eq!(data.targets().collect::<Vec<_>>(), [2, 2]);
        assert_eq!(data.row(0).unwrap().ids, [1, 100, 56, 2]);
        assert_eq!(data.report().rows_without_eos, 0);
        assert_eq!(data.report().rows_bos_twice, usize::from(config.len() > 2));
    }
}

#[test]
fn rows_keep_the_order_of_their_keys() {
    let tokenizer = qwen();
    let prints = [r#"{"city": "Ulm", "unit": "C"}"#, r#"{"unit": "C", "city": "Ulm"}"#].map(|arguments| {
        let row = format!(
            r#"{{"messages": [{{"role": "user", "content": "q"}}, {{"role": "assistant", "content": "", "tool_calls": [{{"type": "function", "function": {{"name": "f", "arguments": {arguments}}}}}]}}, {{"role": "assistant", "content": "a"}}]}}"#
        );
        let data = rows(row.as_bytes(), &tokenizer).unwrap();
        let text = tokenizer.decode(&data.row(0).unwrap().ids, Special::With).unwrap();
        assert!(text.contains(&format!("\"arguments\": {arguments}}}")), "{text}");
        data.fingerprint()
    });
    assert_ne!(prints[0], prints[1]);
}
