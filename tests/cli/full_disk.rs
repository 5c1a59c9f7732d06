//! A run for which there is no room: one message, exit code 1, the last checkpoint stays, and
//! `--resume` ends as if nothing had happened.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::faults::RUN;
use crate::program::{Done, Place};

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
