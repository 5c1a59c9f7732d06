//! `--resume`: after `kill -9` at any moment the run ends as if nothing had happened.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::program::{Done, Place, edit_json};

const RUN: &str = "--max-steps 24 --eval-data eval.jsonl --eval-steps 4 --save-steps 3 --lora-dropout 0.1 \
                   --save-total-limit 2 --target-modules all-linear";

/// The lines of a run without what depends on the clock.
fn metrics(place: &Place, run: &str) -> Vec<Value> {
    let text = place.read(&format!("{run}/metrics.jsonl"));
    let clean = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let object = value.as_object_mut().unwrap();
        object.remove("seconds");
        object.remove("tokens_per_second");
        value
    };
    text.lines().map(clean).collect()
}

fn equal(place: &Place, a: &str, b: &str) {
    for file in [
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
        "best/adapter_model.safetensors",
    ] {
        let of = |run: &str| place.bytes(&format!("{run}/{file}"));
        assert!(of(a) == of(b), "{file} differs");
    }
    assert_eq!(metrics(place, a), metrics(place, b));
    // Records differ in their times only, which have a fixed size: as many steps, and none of them
    // twice.
    let of = |run: &str| -> Vec<u64> {
        let files = std::fs::read_dir(place.path(&format!("{run}/tensorboard"))).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).collect()
    };
    assert_eq!((of(a), of(b).len()), (of(b), 1));
}

/// What a person gives after a kill: a run that was killed before it began is begun.
fn resume(place: &Place, out: &str) -> &'static str {
    if place.path(&format!("{out}/run.toml")).is_file() { "--resume" } else { "" }
}

#[test]
fn a_killed_run_ends_as_an_unbroken_one() {
    let place = Place::new();
    Done::of(place.train("whole", RUN).output().unwrap()).lines();
    // Kills after so many lines and milliseconds: while loading, stepping, evaluating, saving.
    let moments =
        [(0, 30), (1, 3), (2, 40), (0, 300), (4, 10), (3, 25), (5, 0), (2, 60), (6, 7), (3, 90)];
    let mut kills = 0;
    for (lines, milliseconds) in moments {
        let mut command = place.train("broken", &format!("{RUN} {}", resume(&place, "broken")));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap()).lines();
        (0..lines).for_each(|_| drop(reader.next()));
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        kills += 1;
    }
    // On a fast device the last ones come too late.
    assert!(kills >= 4, "{kills} kills");
    let last = format!("{RUN} {}", resume(&place, "broken"));
    Done::of(place.train("broken", &last).output().unwrap()).lines();
    equal(&place, "whole", "broken");
    // The optimizer too.
    let optimizer =
        |run: &str| place.bytes(&format!("{run}/checkpoints/step-24/optimizer.safetensors"));
    assert!(optimizer("whole") == optimizer("broken"));
}

/// Each run is killed once, at a moment of its own between its start and its end, and resumed to
/// its end. 6 moments, or `WGPU_LORA_KILLS`.
#[test]
fn killed_once_at_any_moment() {
    let kills = std::env::var("WGPU_LORA_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(6u64);
    let place = Place::new();
    let start = std::time::Instant::now();
    Done::of(place.train("whole", RUN).output().unwrap()).lines();
    let whole = start.elapsed().as_micros() as u64;
    let (mut hit, mut state) = (0, 0x9e37_79b9_7f4a_7c15_u64);
    for n in 0..kills {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_micros((state >> 20) % whole);
        let out = format!("broken-{n}");
        let mut command = place.train(&out, RUN);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        hit += u64::from(!child.wait().unwrap().success());
        let steps = place.path(&format!("{out}/metrics.jsonl"));
        let lines = std::fs::read_to_string(steps).map_or(0, |text| text.lines().count());
        println!("kill {n} after {moment:?}: {lines} lines of metrics");
        let more = format!("{RUN} {}", resume(&place, &out));
        Done::of(place.train(&out, &more).output().unwrap()).lines();
        equal(&place, "whole", &out);
        std::fs::remove_dir_all(place.path(&out)).unwrap();
    }
    println!(
        "{hit} of {kills} kills came before the run's end; every run ended with the same bytes"
    );
    assert!(hit * 2 >= kills, "{hit} of {kills}: the machine was too fast or too slow");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_saves_and_says_how_to_go_on() {
    let place = Place::new();
    Done::of(place.train("whole", RUN).output().unwrap()).lines();
    let mut command = place.train("broken", RUN);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap()).lines();
    (0..3).for_each(|_| drop(reader.next()));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let rest: Vec<String> = reader.map(Result::unwrap).collect();
    let done = child.wait_with_output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(err.contains("interrupted after step") && err.contains("--resume"), "{err}");
    assert!(rest.len() < 20, "it stopped soon");
    // The settings are in the folder: --out and --resume suffice.
    Done::of(place.command(&["train", "--out", "broken", "--resume", "--json"]).output().unwrap())
        .lines();
    equal(&place, "whole", "broken");
}

#[test]
fn another_run_is_not_resumed() {
    let place = Place::new();
    let first = "--max-steps 4 --save-steps 2";
    Done::of(place.train("run", first).output().unwrap()).lines();
    let again = |more: &str| {
        Done::of(place.train("run", &format!("{first} --resume {more}")).output().unwrap())
    };
    again("--seed 9").fails_saying(&["seed: 42 → 9", "another --out"]);
    place.write("train.jsonl", &crate::program::rows(20, 13));
    again("").fails_saying(&["training rows", "another --out"]);
    place.write("train.jsonl", &crate::program::rows(0, 13));
    let state = place.path("run/checkpoints/step-4/state.json");
    edit_json(&state, |s| {
        s["state"]["variants"]["linear_fwd weight_nf4 aligned"] = "linear_fwd[other]".into();
    });
    again("").fails_saying(&["linear_fwd[other]", "--device"]);
    // A damaged newest checkpoint is passed over.
    std::fs::write(place.path("run/checkpoints/step-4/adapter_model.safetensors"), b"x").unwrap();
    let done = again("");
    assert!(done.err.contains("step-4"), "{}", done.err);
    assert_eq!(done.lines().len(), 2);
}

/// Changes the last value of a file of weights a little.
fn nudge(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.len();
    bytes[end - 1] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn other_held_out_rows_weights_and_tokenizers_are_not_gone_on_with() {
    let place = Place::new();
    let run = "--max-steps 4 --save-steps 2 --eval-data eval.jsonl --eval-steps 1";
    let again = || Done::of(place.train("run", &format!("{run} --resume")).output().unwrap());
    Done::of(place.train("run", run).output().unwrap()).lines();
    let other = |file: &str, change: &dyn Fn(), words: &[&str]| {
        let before = place.bytes(file);
        change();
        again().fails_saying(words);
        std::fs::write(place.path(file), before).unwrap();
    };
    let rows = || place.write("eval.jsonl", &crate::program::rows(51, 4));
    other("eval.jsonl", &rows, &["held-out rows", "another --out"]);
    let turned = || {
        let lines = place.read("eval.jsonl");
        let turned: Vec<&str> = lines.lines().rev().collect();
        place.write("eval.jsonl", &turned.join("\n"));
    };
    other("eval.jsonl", &turned, &["held-out rows"]);
    let weights = "model/model.safetensors";
    other(weights, &|| nudge(&place.path(weights)), &["base weights", "the old model"]);
    let config = "model/config.json";
    let epsilon = || edit_json(&place.path(config), |c| c["rms_norm_eps"] = 1e-3.into());
    other(config, &epsilon, &["rms_norm_eps", "0.001", "another --out"]);
    let turn = || {
        let (a, b) = ("model/tokenizer.json", |t: &mut Value| {
            let vocab = t["model"]["vocab"].as_object_mut().unwrap();
            let (a, b) = (vocab["a"].clone(), vocab["i"].clone());
            vocab.insert("a".into(), b);
            vocab.insert("i".into(), a);
        });
        edit_json(&place.path(a), b);
    };
    other("model/tokenizer.json", &turn, &["training rows"]);
    assert_eq!(again().lines(), Vec::<Value>::new());
}

#[test]
fn a_checkpoint_of_the_version_before_is_gone_on_with() {
    let place = Place::new();
    let run = "--max-steps 4 --save-steps 2 --eval-data eval.jsonl --eval-steps 2";
    Done::of(place.train("whole", run).output().unwrap()).lines();
    Done::of(place.train("broken", run).output().unwrap()).lines();
    std::fs::remove_dir_all(place.path("broken/checkpoints/step-4")).unwrap();
    edit_json(&place.path("broken/checkpoints/step-2/state.json"), |file| {
        file["version"] = 1.into();
        for key in ["due", "unlogged", "inputs"] {
            file["state"].as_object_mut().unwrap().remove(key).unwrap();
        }
    });
    place.write("eval.jsonl", &place.read("eval.jsonl"));
    let done = Done::of(place.train("broken", &format!("{run} --resume")).output().unwrap());
    let said: Vec<&str> = done.err.lines().filter(|line| line.contains("warning")).collect();
    assert!(said.len() == 1 && said[0].contains("cannot be checked"), "{said:?}");
    done.lines();
    equal(&place, "whole", "broken");
    // From now on it can.
    nudge(&place.path("model/model.safetensors"));
    Done::of(place.train("broken", &format!("{run} --resume")).output().unwrap())
        .fails_saying(&["base weights"]);
}

#[test]
fn an_evaluation_goes_on_only_with_what_it_began_with() {
    let place = Place::new();
    Done::of(place.train("run", "--max-steps 1").output().unwrap()).lines();
    let judge = |more: &str| {
        let all = format!("evaluate --json --model model --data eval.jsonl --out judged {more}");
        place.run(&all.split_whitespace().collect::<Vec<_>>())
    };
    let fixed = "--adapter run/adapter";
    judge(fixed).lines();
    let left = place
        .read("judged/predictions.jsonl")
        .lines()
        .take(4)
        .fold(String::new(), |all, l| all + l + "\n");
    // Four lines: the basis and three of four predictions of the base model.
    let again = |more: &str| {
        place.write("judged/.predictions.jsonl.partial", &left);
        judge(&format!("{fixed} {more}"))
    };
    let done = again("");
    assert!(done.err.contains("going on after 3 predictions"), "{}", done.err);
    assert_eq!(done.lines().len(), 1 + 4 + 1);
    let other = |file: &str, more: &str, change: &dyn Fn(), what: &str| {
        let before = place.bytes(file);
        change();
        let done = again(more);
        let why = format!(
            "starting over: the 3 predictions of an interrupted evaluation are of other {what}\n"
        );
        assert!(done.err.contains(&why), "no `{why}` in {}", done.err);
        assert_eq!(done.lines().len(), 4 + 4 + 1, "{what}");
        std::fs::write(place.path(file), before).unwrap();
    };
    let weights = "model/model.safetensors";
    other(weights, "", &|| nudge(&place.path(weights)), "base weights");
    let adapter = "run/adapter/adapter_model.safetensors";
    other(adapter, "", &|| nudge(&place.path(adapter)), "adapter");
    let scale = || {
        edit_json(&place.path("run/adapter/adapter_config.json"), |c| c["lora_alpha"] = 5.into())
    };
    other("run/adapter/adapter_config.json", "", &scale, "adapter");
    let epsilon =
        || edit_json(&place.path("model/config.json"), |c| c["rms_norm_eps"] = 1e-3.into());
    other("model/config.json", "", &epsilon, "configuration");
    let rows = || place.write("eval.jsonl", &crate::program::rows(51, 4));
    other("eval.jsonl", "", &rows, "rows");
    other("eval.jsonl", "--max-new-tokens 4", &|| {}, "--max-new-tokens");
    other("eval.jsonl", "--price-mass 0.9 --precision mixed", &|| {}, "--precision, --price-mass");
}

#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_before_the_first_step_counts_once() {
    let place = Place::new();
    place.write("many.jsonl", &crate::program::rows(50, 300));
    // A rate that makes nothing better: with the first evaluation counted twice, patience ends
    // before it begins.
    let run = "--max-steps 3 --eval-data many.jsonl --eval-steps 3 --early-stopping-patience 1";
    Done::of(place.train("whole", run).output().unwrap()).lines();
    let mut child =
        place.train("broken", run).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(reader.any(|line| line.contains("trainable params")));
    std::thread::sleep(Duration::from_millis(50));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let said: Vec<String> = reader.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(said.iter().any(|line| line.contains("interrupted after step 0 of 3")), "{said:?}");
    Done::of(place.train("broken", &format!("{run} --resume")).output().unwrap()).lines();
    equal(&place, "whole", "broken");
}

#[test]
fn a_run_goes_on_with_the_variants_that_it_began_with() {
    let place = Place::new();
    let run = |out: &str, more: &str, variant: &str| {
        let mut command = place.train(out, &format!("--max-steps 4 --save-steps 2 {more}"));
        Done::of(command.env("WGPU_LORA_VARIANT", variant).output().unwrap()).lines()
    };
    run("whole", "", "baseline");
    run("broken", "", "baseline");
    std::fs::remove_dir_all(place.path("broken/checkpoints/step-4")).unwrap();
    // Resumed where nothing asks for the baseline.
    assert_eq!(run("broken", "--resume", "").len(), 2);
    let adapter = |run: &str| place.bytes(&format!("{run}/adapter/adapter_model.safetensors"));
    assert!(adapter("whole") == adapter("broken"));
}

#[test]
fn states_of_eight_bits_go_on_after_a_kill() {
    let place = Place::new();
    // At rank 64 the pairs are large enough for them.
    let run = format!("{RUN} --optim adamw8bit --rank 64");
    Done::of(place.train("whole", &run).output().unwrap()).lines();
    let mut command = place.train("broken", &run);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap()).lines();
    (0..7).for_each(|_| drop(reader.next()));
    child.kill().unwrap();
    child.wait().unwrap();
    Done::of(place.train("broken", &format!("{run} --resume")).output().unwrap()).lines();
    equal(&place, "whole", "broken");
    let optimizer =
        |run: &str| place.bytes(&format!("{run}/checkpoints/step-24/optimizer.safetensors"));
    assert!(optimizer("whole") == optimizer("broken"));
}

/// A template that writes the date writes the run's, whatever the day is on which the run goes on.
#[test]
fn a_run_goes_on_with_the_date_that_it_began_with() {
    let place = Place::new();
    let template = "{{ strftime_now('%d %m %Y') }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
    place.write("model/chat_template.jinja", template);
    place.write("model/tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
    let chat = |i: usize| {
        let turn = |role: &str, text: String| serde_json::json!({"role": role, "content": text});
        let messages = [turn("user", format!("ask {i}")), turn("assistant", format!("say {i}"))];
        format!("{}\n", serde_json::json!({"messages": messages}))
    };
    place.write("train.jsonl", &(0..8).map(chat).collect::<String>());
    let run = "--max-steps 4 --save-steps 2 --loss all";
    let train = |out: &str, more: &str| {
        Done::of(place.train(out, &format!("{run} {more}")).output().unwrap()).lines()
    };
    let adapter = |out: &str| place.bytes(&format!("{out}/adapter/adapter_model.safetensors"));
    train("whole", "--template-date 2021-03-04");
    train("broken", "--template-date 2021-03-04");
    let newest = "broken/checkpoints/step-4/adapter_model.safetensors";
    std::fs::write(place.path(newest), b"x").unwrap();
    assert_eq!(train("broken", "--resume").len(), 2, "it went on after step 2");
    assert!(adapter("whole") == adapter("broken"));
    assert_eq!(metrics(&place, "whole"), metrics(&place, "broken"));
    // Another day gives other rows.
    train("other", "--template-date 2022-05-06");
    assert!(adapter("whole") != adapter("other"));
    // The day on which a run began is one of its settings.
    train("today", "");
    let settings = place.read("today/run.toml");
    assert!(settings.contains("template_date = \"20"), "{settings}");
}
