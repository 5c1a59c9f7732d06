//! What the command line says of the library's settings: their names as flags, and their defaults.

use std::path::Path;
use std::process::Command;

use super::architecture::files;
use wgpu_lora::train::config::TrainConfig;

/// The help of a command, a flag with its text on one line each.
fn help(command: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wgpu-lora"));
    let out = program.args(command).arg("--help").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.replace(" --", "\n--")
}

fn is_flag(helps: &[String], name: &str) -> bool {
    let flag = format!("--{}", name.replace('_', "-"));
    helps.iter().any(|help| help.lines().any(|l| l.split([' ', '=', '[']).next() == Some(&flag)))
}

#[test]
fn every_setting_that_a_message_names_is_a_flag() {
    let helps = ["train", "generate", "logits", "export"].map(|command| help(&[command]));
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "rs", &mut all);
    let mut found = 0;
    for path in all.iter().filter(|path| !path.to_string_lossy().contains("/src/cli/")) {
        let source = std::fs::read_to_string(path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for (name, _) in line.split('‹').skip(1).filter_map(|rest| rest.split_once('›')) {
                let name = name.split(" = ").next().unwrap_or_default();
                // Where the name is not written down there is none to look at.
                if !name.contains('{') {
                    assert!(is_flag(&helps, name), "{}: {line}", path.display());
                    found += 1;
                }
            }
        }
    }
    assert!(found > 20, "{found} settings");
}

#[test]
fn help_shows_the_defaults_of_the_settings() {
    let defaults: toml::Table = TrainConfig::default().to_toml().unwrap().parse().unwrap();
    let help = help(&["train"]);
    let mut shown = 0;
    for (name, value) in &defaults {
        let flag = format!("--{} ", name.replace('_', "-"));
        let about = |line: &&str| format!("{} ", line.replace(['[', '='], " ")).starts_with(&flag);
        let lines = Vec::from_iter(help.lines().filter(about));
        let line = lines.iter().find(|line| line.contains("[default: ")).or(lines.first());
        let line = line.unwrap_or_else(|| panic!("no {flag}"));
        let Some((_, told)) = line.split_once("[default: ") else {
            let silent = ["false", "\"\"", "[]"].contains(&value.to_string().as_str());
            assert!(silent, "{flag}does not show its default, {value}: {line}");
            continue;
        };
        let told = told.split(']').next().unwrap_or_default();
        let same = match value {
            toml::Value::Float(x) => told.parse() == Ok(*x),
            toml::Value::Array(all) => {
                told == all.iter().filter_map(|v| v.as_str()).collect::<Vec<_>>().join(",")
            }
            toml::Value::String(text) => told == text,
            other => told == other.to_string(),
        };
        assert!(same, "{flag}: help says {told}, the default is {value}");
        shown += 1;
    }
    assert!(shown > 20, "{shown} defaults");
}
