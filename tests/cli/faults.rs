//! What goes wrong around a run: no room, no rights, another process. One message, exit code 1, the
//! last checkpoint stays, and `--resume` ends as if nothing had happened.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{Done, Place};

const RUN: &str = "--max-steps 9 --save-steps 3 --target-modules all-linear --lora-dropout 0.1";

fn same(place: &Place, a: &str, b: &str) {
    for file in ["adapter/adapter_model.safetensors", "checkpoints/step-9/optimizer.safetensors"] {
        let of = |run: &str| place.bytes(&format!("{run}/{file}"));
        assert!(of(a) == of(b), "{file} differs");
    }
}

/// Kills after the first checkpoint, so that there is something to keep.
fn stopped_after_three(place: &Place, out: &str) {
    Done::of(place.train(out, RUN).output().unwrap()).lines();
    for step in [6, 9] {
        std::fs::remove_dir_all(place.path(&format!("{out}/checkpoints/step-{step}"))).unwrap();
    }
}

fn leftovers(folder: &Path) -> Vec<String> {
    let names = |path: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let all = [names(folder), names(&folder.join("checkpoints"))].concat();
    all.into_iter().filter(|name| name.starts_with(".tmp-")).collect()
}

#[cfg(unix)]
#[test]
fn a_full_disk_keeps_the_last_checkpoint() {
    let place = Place::new();
    Done::of(place.train("whole", RUN).output().unwrap()).lines();
    stopped_after_three(&place, "broken");
    // No file may grow beyond some KiB: writing ends as on a full disk, in the middle of the
    // checkpoint.
    let plain = place.train("broken", &format!("{RUN} --resume"));
    let mut limited = Command::new("sh");
    limited.current_dir(place.path(""));
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""]);
    limited.arg(plain.get_program()).args(plain.get_args()).env_remove("WGPU_LORA_VARIANT");
    let done = Done::of(limited.output().unwrap());
    assert_eq!(done.code, Some(1), "{}", done.err);
    for word in [".safetensors", "step 3 is saved", "train --out broken --resume"] {
        assert!(done.err.contains(word), "no `{word}` in: {}", done.err);
    }
    assert!(!done.err.contains("panicked"), "{}", done.err);
    assert!(place.path("broken/checkpoints/step-3").is_dir());
    assert!(!place.path("broken/checkpoints/step-6").exists());
    assert_eq!(leftovers(&place.path("broken")), Vec::<String>::new());
    Done::of(place.train("broken", &format!("{RUN} --resume")).output().unwrap()).lines();
    same(&place, "whole", "broken");
}

/// Where the system lets us mount one: a disk of 300 KiB that is really full.
#[cfg(target_os = "linux")]
#[test]
fn a_small_file_system_that_is_full() {
    let place = Place::new();
    std::fs::create_dir(place.path("disk")).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=300k", "none"])
        .arg(place.path("disk"))
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("no right to mount a file system: left out");
        return;
    }
    let run = "--max-steps 60 --save-steps 3 --target-modules all-linear --lora-dropout 0.1";
    let done = Done::of(place.train("disk/run", run).output().unwrap());
    let kept = place.path("disk/run/checkpoints/step-3").is_dir();
    // What is resumed elsewhere ends as a whole run.
    let copied = Command::new("cp")
        .args([place.path("disk/run"), place.path("moved")])
        .arg("-r")
        .status()
        .unwrap()
        .success();
    Command::new("umount").arg(place.path("disk")).status().unwrap();
    assert_eq!(done.code, Some(1), "{}", done.err);
    for word in ["No space left", "is saved", "--resume"] {
        assert!(done.err.contains(word), "no `{word}` in: {}", done.err);
    }
    assert!(kept && copied);
    Done::of(place.train("moved", &format!("{run} --resume")).output().unwrap()).lines();
    Done::of(place.train("whole", run).output().unwrap()).lines();
    let adapter = |run: &str| place.bytes(&format!("{run}/adapter/adapter_model.safetensors"));
    assert!(adapter("whole") == adapter("moved"));
}

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
    let (mut done, mut at_fifty, mut last) = (0, 0, 0);
    let mut highest = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if !line.unwrap().contains("\"grad_norm\"") {
            continue;
        }
        done += 1;
        // The last lines may come after the process has ended.
        if done % 10 == 0 && done + 10 < steps {
            last = resident(child.id());
            if done == 50 {
                at_fifty = last;
            }
            if done >= 50 {
                highest = highest.max(last);
            }
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(done, steps);
    println!("{steps} steps: {at_fifty} bytes after step 50, at most {highest}, {last} at the end");
    let allowed = at_fifty / 50 + (1 << 20);
    assert!(highest <= at_fifty + allowed, "{highest} bytes, {at_fifty} after step 50");
}
