//! `chat`, and how prompts are taken: by what the adapter was trained on.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Done, Place};

const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

/// A place whose model has a chat template, and an adapter that has learned to say `yo`.
fn place() -> Place {
    let place = Place::new();
    place.write("model/chat_template.jinja", TEMPLATE);
    place.write("model/tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
    let row = r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}"#;
    place.write("train.jsonl", &format!("{row}\n").repeat(6));
    let more = "--max-steps 25 --target-modules all-linear --learning-rate 2e-2";
    let done = Done::of(place.train("run", more).output().unwrap());
    assert!(done.err.contains("next: wgpu-lora chat --model model --adapter run"), "{}", done.err);
    done.lines();
    place
}

fn chat(place: &Place, lines: &str, more: &[&str]) -> Done {
    let mut command = place.command(&[&["chat", "--model", "model"], more].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    Done::of(child.wait_with_output().unwrap())
}

#[test]
fn what_was_trained_on_chats_is_asked_in_chats() {
    let place = place();
    let note: Value = serde_json::from_str(&place.read("run/adapter/wgpu_lora.json")).unwrap();
    assert_eq!(note["rows"], "messages");
    let args = ["generate", "--model", "model", "--adapter", "run", "--prompt", "hi"];
    let done = place.run(&args);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "yo\n"), "{}", done.err);
    assert!(done.err.contains("a user's message") && done.err.contains("trained on messages"));
    let json =
        |more: &[&str]| place.run(&[&args[..], &["--json"], more].concat()).lines().remove(0);
    let raw = json(&["--raw", "--max-new-tokens", "4"]);
    assert_eq!((&raw["prompt_format"], &raw["prompt_tokens"]), (&"text".into(), &2.into()));
    let system = json(&["--system", "be brief"]);
    assert_eq!(system["prompt_format"], "chat");
    let longer = "<system>be brief".len() + 1;
    let plain = json(&[])["prompt_tokens"].as_u64().unwrap();
    assert_eq!(system["prompt_tokens"].as_u64().unwrap(), plain + longer as u64);
    // `logits` sees what `generate` does: after the whole prompt the adapter's first letter.
    let logits = ["logits", "--json", "--model", "model", "--adapter", "run", "--prompt", "hi"];
    let top = place.run(&logits).lines().remove(0);
    assert_eq!(top["top"][0]["token"], "y");
    assert_eq!(top["tokens"].as_array().unwrap().len() as u64, plain);
    // What was trained on plain rows is asked in plain text, whatever the model's template.
    place.write("train.jsonl", &crate::program::rows(0, 6));
    Done::of(place.train("plain", "--max-steps 1").output().unwrap()).lines();
    let args = ["generate", "--model", "model", "--adapter", "plain", "--prompt", "hi"];
    let done = place.run(&[&args[..], &["--max-new-tokens", "2"]].concat());
    assert!(done.err.contains("trained on prompt and completion"), "{}", done.err);
}

#[test]
fn lines_of_a_pipe_are_answered_one_by_one() {
    let place = place();
    let two = ["--adapter", "run", "--max-new-tokens", "6"];
    let done = chat(&place, "hi\n\nhi\n/reset\nhi\n", &two);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "yo\nyo\nyo\n"), "{}", done.err);
    // Only what is new is computed, all of it with another adapter or system prompt.
    let lines = "hi\nhi\n/adapter none\nhi\n/adapter run\n/system be\nhi\n/reset\nhi\n";
    let turns = chat(&place, lines, &[&two[..], &["--json"]].concat()).lines();
    let number = |i: usize, key: &str| turns[i][key].as_u64().unwrap();
    assert_eq!(turns.len(), 5);
    assert_eq!(number(0, "computed_tokens"), number(0, "prompt_tokens"));
    assert!(number(1, "computed_tokens") < number(1, "prompt_tokens") - number(0, "prompt_tokens"));
    for i in [2, 3] {
        assert_eq!(number(i, "computed_tokens"), number(i, "prompt_tokens"), "{}", turns[i]);
    }
    assert_eq!((&turns[1]["adapter"], &turns[2]["adapter"]), (&"run".into(), &Value::Null));
    // The system prompt stays, and its keys and values with it.
    assert!(number(4, "computed_tokens") < number(4, "prompt_tokens"));
    // Positions run out.
    let done = chat(&place, "hi\nhi\nhi\n", &[&two[..], &["--max-length", "50"]].concat());
    assert!(done.err.contains("forgotten: the conversation has room for 50"), "{}", done.err);
    assert_eq!(done.out, "yo\nyo\nyo\n");
    // What cannot be done is said, and ends a pipe.
    chat(&place, "/adapter nobody\n", &two).fails_saying(&["nobody", "run"]);
    chat(&place, "/banana\n", &two).fails_saying(&["/banana", "/help"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_answer_and_not_the_program() {
    use std::io::{BufRead, BufReader, Read};
    let place = place();
    let mut command = place.command(&["chat", "-m", "model", "--max-new-tokens", "100000"]);
    command.args(["--stop", "nothing says this", "--max-length", "120000", "--temperature", "9"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    to.write_all(b"tell me\n").unwrap();
    // An answer has begun.
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0]).unwrap();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line == "stopped" || line.starts_with("cut")), "nothing was stopped");
    to.write_all(b"/quit\n").unwrap();
    drop(to);
    // It must not wait for somebody to read.
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
