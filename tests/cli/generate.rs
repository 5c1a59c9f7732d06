//! `generate` and `logits`.

use serde_json::Value;

use crate::program::{Done, Place};

fn one(done: Done) -> Value {
    let mut lines = done.lines();
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

const PROMPT: &str = "item 3 costs $";

fn generate(place: &Place, more: &[&str]) -> Value {
    let args = ["generate", "--json", "--model", "model", "--prompt", PROMPT];
    one(place.run(&[&args[..], &["--max-new-tokens", "8"], more].concat()))
}

#[test]
fn generation_reports_the_contracts_fields_and_agrees_with_logits() {
    let place = Place::new();
    let answer = generate(&place, &[]);
    assert_eq!(answer["prompt_tokens"], PROMPT.len());
    assert!(answer["prefill_seconds"].as_f64().unwrap() > 0.0);
    assert!(answer["decode_tokens_per_second"].as_f64().unwrap() > 0.0);
    let ids: Vec<u64> =
        answer["ids"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
    assert_eq!((answer["tokens"].as_u64(), ids.len()), (Some(8), 8));
    // Every greedy token is the top one of a pass over everything before it.
    let mut sequence: Vec<u64> = PROMPT.bytes().map(|b| 3 + u64::from(b)).collect();
    for id in ids.iter().take(4) {
        let text: Vec<String> = sequence.iter().map(u64::to_string).collect();
        let logits =
            one(place.run(&["logits", "--json", "--model", "model", "--ids", &text.join(",")]));
        assert_eq!(logits["top"][0]["id"].as_u64(), Some(*id));
        sequence.push(*id);
    }
    // People get the text and a line end, and nothing else.
    let args = ["generate", "-m", "model", "-p", PROMPT, "--max_new_tokens", "8"];
    let text = place.run(&args);
    assert_eq!((text.code, text.out), (Some(0), format!("{}\n", answer["text"].as_str().unwrap())));
}

/// Where the adapter has 16 bits (lavapipe does), the variant that uses them is chosen by
/// `--precision mixed` alone.
#[test]
fn mixed_precision_changes_the_last_digits_of_answers_and_f32_stays_as_it_is() {
    let place = Place::new();
    let top = |variant: &str, precision: &str| {
        let args = ["logits", "--json", "--model", "model", "--prompt", PROMPT];
        let mut command = place.command(&[&args[..], &["--precision", precision]].concat());
        let answer = one(Done::of(command.env("WGPU_LORA_VARIANT", variant).output().unwrap()));
        answer["top"][0]["logit"].as_f64().unwrap()
    };
    let exact = top("auto", "f32");
    let half = top("workgroup_f16", "mixed");
    let has_f16 = one(place.run(&["info", "--json"]))["device"]["f16"] == true;
    assert_eq!(top("workgroup_f16", "f32"), exact);
    assert_eq!(top("baseline", "mixed"), top("baseline", "f32"));
    assert_eq!(half != exact, has_f16);
    assert!((half - exact).abs() < 5e-3 * exact.abs(), "{half} and {exact}");
}

#[test]
fn seeds_decide_and_a_temperature_changes_something() {
    let place = Place::new();
    let warm =
        |seed: &str| generate(&place, &["--temperature", "2", "--seed", seed])["ids"].clone();
    assert_eq!(warm("1"), warm("1"));
    assert_ne!(warm("1"), warm("2"));
    let greedy = generate(&place, &[])["ids"].clone();
    assert_eq!(generate(&place, &["--temperature", "2", "--top-k", "1"])["ids"], greedy);
    let bad = place.run(&["generate", "--model", "model", "--prompt", "a", "--temperature", "-1"]);
    bad.fails_saying(&["temperature", "-1", "from 0"]);
}

#[test]
fn several_answers_come_from_one_batch_and_are_what_they_are_alone() {
    let place = Place::new();
    let args = [
        "generate",
        "--json",
        "--model",
        "model",
        "--prompt",
        PROMPT,
        "--n",
        "3",
        "--max-new-tokens",
        "8",
    ];
    let many = |more: &[&str]| place.run(&[&args[..], more].concat()).lines();
    let greedy = generate(&place, &[])["ids"].clone();
    let same = many(&[]);
    assert_eq!(same.len(), 3);
    assert!(same.iter().all(|answer| answer["ids"] == greedy), "{same:?}");
    let warm = ["--temperature", "1.5", "--seed", "4", "--max-new-tokens", "12"];
    let different = many(&warm);
    assert_eq!(different[0]["ids"], generate(&place, &warm)["ids"]);
    assert_ne!(different[0]["ids"], different[1]["ids"]);
    assert_ne!(different[1]["ids"], different[2]["ids"]);
    assert_eq!(many(&warm)[2]["ids"], different[2]["ids"]);
    for (i, answer) in different.iter().enumerate() {
        assert_eq!(answer["sample"], i);
        assert!(answer["text"].is_string() && answer["finish"].is_string(), "{answer}");
    }
    // Without repetition no token of eight comes twice, where the model repeats itself otherwise.
    let distinct = |ids: &Value| {
        let mut ids: Vec<String> = ids.as_array().unwrap().iter().map(Value::to_string).collect();
        ids.sort();
        ids.dedup();
        ids.len()
    };
    let penalized = generate(&place, &["--repetition-penalty", "1e6"])["ids"].clone();
    assert_eq!(distinct(&penalized), 8);
    assert_eq!(generate(&place, &["--repetition-penalty", "1"])["ids"], greedy);
    let args = ["generate", "--model", "model", "--prompt", "a", "--repetition-penalty", "0"];
    place.run(&args).fails_saying(&["repetition_penalty", "above 0"]);
}

#[test]
fn adapters_are_chosen_by_name() {
    let place = Place::new();
    for (out, completion, seed) in [("a", "acegik", "1"), ("b", "bdfhjl", "2")] {
        // Other data and a high rate, so that the answers differ.
        let rows: String = (0..6)
            .map(|_| format!("{{\"prompt\": \"{PROMPT}\", \"completion\": \"{completion}\"}}\n"))
            .collect();
        place.write("train.jsonl", &rows);
        let more = format!(
            "--max-steps 25 --target-modules all-linear --learning-rate 2e-2 --seed {seed}"
        );
        Done::of(place.train(out, &more).output().unwrap()).lines();
    }
    let both = ["--adapter", "first=a/adapter", "--adapter", "second=b/adapter"];
    let used =
        |name: &str| generate(&place, &[&both[..], &["--use", name]].concat())["text"].clone();
    let text = |name: &str| used(name).as_str().unwrap().to_owned();
    assert_eq!(text("first"), "acegik");
    assert_eq!(text("second"), "bdfhjl");
    assert_eq!(generate(&place, &both)["text"], "acegik");
    assert_eq!(used("none"), generate(&place, &[])["text"]);
    assert_eq!(generate(&place, &["--adapter", "b/adapter"])["finish"], "eos");
    // A stop text ends the answer and does not belong to it.
    let stopped = generate(&place, &["--adapter", "a/adapter", "--stop", "ace"]);
    assert_eq!((&stopped["text"], &stopped["finish"]), (&"".into(), &"stop".into()));
}

#[test]
fn an_empty_prompt_begins_with_bos() {
    let place = Place::new();
    let args = ["generate", "--json", "--model", "model", "--prompt", "", "--max-new-tokens", "2"];
    assert_eq!(one(place.run(&args))["prompt_tokens"], 1);
    crate::program::edit_json(&place.path("model/config.json"), |c| {
        c.as_object_mut().unwrap().remove("bos_token_id");
    });
    place.run(&args).fails_saying(&["prompt", "is empty"]);
}

#[test]
fn logits_of_every_token_go_to_a_file() {
    let place = Place::new();
    let args = [
        "logits",
        "--json",
        "--model",
        "model",
        "--ids",
        "5,6,7",
        "--top",
        "3",
        "--out",
        "l.safetensors",
    ];
    let answer = one(place.run(&args));
    assert_eq!(answer["tokens"], serde_json::json!([5, 6, 7]));
    assert_eq!(answer["top"].as_array().unwrap().len(), 3);
    let bytes = place.bytes("l.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let logits = file.tensor("logits").unwrap();
    assert_eq!(logits.shape(), [3, 512]);
    let values: Vec<f32> =
        logits.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let top = &answer["top"][0];
    let best = values[2 * 512..][top["id"].as_u64().unwrap() as usize];
    // The parser of the test may lose the last bit of an f64, never of an f32.
    assert_eq!(best, top["logit"].as_f64().unwrap() as f32);
    assert!(values[2 * 512..].iter().all(|x| *x <= best));
    for field in ["id", "token", "logit", "probability"] {
        assert!(top.get(field).is_some(), "{field}");
    }
    let text = place.run(&["logits", "--model", "model", "--prompt", "ab", "--top", "2"]);
    assert_eq!(text.out.lines().count(), 2, "{}", text.out);
}
