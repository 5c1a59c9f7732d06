//! Runs the program and looks at what it said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::tiny;

/// A folder with a model, training rows and evaluation rows.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// With the model `tiny_a`.
    pub fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        tiny::write_model(&place.path("model"), "tiny_a");
        place.write("train.jsonl", &rows(0, 13));
        place.write("eval.jsonl", &rows(50, 4));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The program, to be run in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-lora"));
        command.current_dir(self.dir.path()).args(args).env_remove("WGPU_LORA_VARIANT");
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    /// `train` on the rows here into `out`, with `more` arguments (words between spaces).
    pub fn train(&self, out: &str, more: &str) -> Command {
        let fixed = "train --json --model model --data train.jsonl --batch-size 2 \
                     --gradient-accumulation-steps 1 --learning-rate 5e-3 --rank 4";
        let mut args: Vec<&str> = fixed.split_whitespace().collect();
        args.extend(["--out", out]);
        args.extend(more.split_whitespace());
        self.command(&args)
    }
}

/// Rows `first..first + n`, all different.
pub fn rows(first: usize, n: usize) -> String {
    let row = |i: usize| serde_json::json!({"prompt": format!("item {i} costs $"), "completion": format!("{}", i * 7 % 50)});
    (first..first + n).map(|i| format!("{}\n", row(i))).collect()
}

/// What a finished program said.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn of(output: Output) -> Done {
        Done {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts success and returns the JSON lines of stdout, which must all be JSON.
    pub fn lines(self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts failure with exit code 1, an empty stdout, and every word in the message.
    pub fn fails_saying(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "stdout: {}\nstderr: {}", self.out, self.err);
        assert_eq!(self.out, "", "stdout of a failed command");
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "no `{word}` in: {}", self.err);
        }
    }
}

/// Overwrites keys of a JSON file.
pub fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}
