//! What goes wrong around a run: no rights, another process. One message, exit code 1, the last
//! checkpoint stays, and `--resume` ends as if nothing had happened.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::program::{Done, Place};

pub const RUN: &str = "--max-steps 9 --save-steps 3 --target-modules all-linear --lora-dropout 0.1";

#[test]
fn folders_that_cannot_hold_a_run() {
    let place = Place::new();
    let run = |out: &str| Done::of(place.train(out, RUN).output().unwrap());
    // A file in the way.
    run("train.jsonl/run").fails_saying(&["train.jsonl"]);
    // A folder of something else.
    std::fs::create_dir_all(place.path("theirs/checkpoints/old")).unwrap();
    run("theirs").fails_saying(&["theirs", "holds `checkpoints`", "another --out"]);
    assert!(place.path("theirs/checkpoints/old").is_dir());
    // A run.toml of something else.
    std::fs::create_dir(place.path("other")).unwrap();
    place.write("other/run.toml", "[package]\nname = \"x\"\n");
    run("other").fails_saying(&["other", "holds a run already"]);
    let done = Done::of(place.train("other", &format!("{RUN} --resume")).output().unwrap());
    done.fails_saying(&["run.toml", "package"]);
    // Where nobody may write, root included.
    if cfg!(target_os = "linux") && Path::new("/sys/kernel").is_dir() {
        run("/sys/kernel/run").fails_saying(&["/sys/kernel"]);
    }
}

#[test]
fn two_runs_in_one_folder() {
    let place = Place::new();
    let mut first = place.train("run", "--max-steps 400 --save-steps 400");
    let mut child = first.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    for more in ["", "--resume"] {
        let mut second = place.train("run", &format!("--max-steps 400 --save-steps 400 {more}"));
        let done = second.output().unwrap();
        Done::of(done)
            .fails_saying(&["run", if more.is_empty() { "--resume" } else { "another process" }]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock went with the process.
    let mut third = place.train("run", "--max-steps 400 --save-steps 400 --resume");
    let mut child = third.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("loss"));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Resident bytes of a process.
#[cfg(target_os = "linux")]
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// On a software adapter the device's memory is the process's, so that this sees both. 150 steps,
/// or `WGPU_LORA_STEADY_STEPS`.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_flat_from_step_fifty_on() {
    let steps = std::env::var("WGPU_LORA_STEADY_STEPS").ok().and_then(|n| n.parse().ok());
    let steps: usize = steps.unwrap_or(150);
    let place = Place::new();
    // Rows of many lengths, in batches of every shape, with evaluation and checkpoints.
    let row = |i: usize| {
        let prompt = "x".repeat(1 + i * 37 % 90);
        format!("{}\n", serde_json::json!({"prompt": prompt, "completion": format!("{i}")}))
    };
    place.write("train.jsonl", &(0..101).map(row).collect::<String>());
    let more = format!(
        "--max-steps {steps} --eval-data eval.jsonl --eval-steps 25 --save-steps 20 --save-total-limit 2 \
         --target-modules all-linear --lora-dropout 0.1"
    );
    let mut child =
        place.train("run", &more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut done, mut bytes) = (0, Vec::new());
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if !line.unwrap().contains("\"grad_norm\"") {
            continue;
        }
        done += 1;
        // The last lines may come after the process has ended.
        if done % 10 == 0 && done >= 50 && done + 10 < steps {
            bytes.push(resident(child.id()));
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(done, steps);
    // What leaks grows all the time; an allocator takes some pieces of 2 MiB once, at any time.
    let [first, half, last] = [0, bytes.len() / 2, bytes.len() - 1].map(|i| bytes[i]);
    println!("{steps} steps: {first} bytes after step 50, {half} half-way, {last} at the end");
    let allowed = (first / 50 + (1 << 20)) / 2;
    let grown = half.saturating_sub(first).min(last.saturating_sub(half));
    assert!(grown <= allowed, "{grown} bytes more in each half, {allowed} are allowed");
}
