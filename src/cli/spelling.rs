//! Flags as fingers know them: with underscores, or as PEFT, TRL and mlx-lm call them.

use clap::{ArgAction, Command};

use crate::train::config::names::{self, Here};

/// The words of a command line with flags that the program knows: underscores become dashes, and
/// what is called otherwise elsewhere becomes `--set NAME=VALUE` where settings of a run are taken.
pub(super) fn known(words: Vec<String>, program: &Command) -> Vec<String> {
    let command = words.iter().skip(1).find_map(|word| program.find_subcommand(word));
    let Some(command) = command else { return words };
    let mut out = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            out.push(word);
            out.extend(words);
            break;
        }
        let Some((name, inline)) = flag(&word) else {
            out.push(word);
            continue;
        };
        let dashed = name.replace('_', "-");
        let arg = argument(command, &dashed).or_else(|| argument(program, &dashed));
        let next = words.peek().filter(|next| is_value(next)).cloned();
        if takes_settings(command)
            && let Some(field) = names::find(name)
        {
            let value = inline.map(str::to_owned).or(next.clone()).unwrap_or("true".into());
            let as_set = match field.here {
                Here::Taken if arg.is_some() => {
                    let bare = inline.is_none() && next.is_none();
                    field.translated(&value).is_some() && (!bare || takes_value(arg))
                }
                Here::Flag(_) => false,
                _ => arg.is_none(),
            };
            if as_set {
                if inline.is_none() && next.is_some() {
                    words.next();
                }
                out.extend(["--set".into(), format!("{}={value}", field.name)]);
                continue;
            }
            if let (Here::Flag(ours), None) = (field.here, arg) {
                out.push(inline.map_or(format!("--{ours}"), |v| format!("--{ours}={v}")));
                continue;
            }
        }
        let Some(arg) = arg else {
            // Clap knows what is near to it.
            out.push(word);
            continue;
        };
        let truth = |word: &String| ["true", "false"].contains(&word.to_lowercase().as_str());
        match inline.map(str::to_owned) {
            Some(value) if truth(&value) => {
                out.push(format!("--{dashed}={}", value.to_lowercase()))
            }
            Some(value) => out.push(format!("--{dashed}={value}")),
            // `--use_rslora True`: what may stand alone takes a value only behind `=`.
            None if arg.is_require_equals_set() && next.as_ref().is_some_and(truth) => {
                let value = words.next().unwrap_or_default().to_lowercase();
                out.push(format!("--{dashed}={value}"));
            }
            None => {
                out.push(format!("--{dashed}"));
                // Whatever it looks like, it is the value.
                if takes_value(Some(arg)) && arg.is_allow_hyphen_values_set() {
                    out.extend(words.next());
                }
            }
        }
    }
    out
}

/// Whether a command takes the settings of a run.
fn takes_settings(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == "set")
}

fn argument<'c>(command: &'c Command, name: &str) -> Option<&'c clap::Arg> {
    let named = |arg: &&clap::Arg| {
        let alias = || arg.get_all_aliases().unwrap_or_default().contains(&name);
        arg.get_long() == Some(name) || alias()
    };
    command.get_arguments().find(named)
}

fn takes_value(arg: Option<&clap::Arg>) -> bool {
    arg.is_some_and(|arg| {
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
            && !arg.is_require_equals_set()
    })
}

/// Name and value of `--name` or `--name=value`.
fn flag(word: &str) -> Option<(&str, Option<&str>)> {
    let word = word.strip_prefix("--")?;
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then_some((name, value))
}

/// Whether a word is a flag's value: no flag, or a negative number.
fn is_value(word: &str) -> bool {
    !word.starts_with('-') || word.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn said(words: &str) -> String {
        let words = std::iter::once("wgpu-lora").chain(words.split(' ')).map(str::to_owned);
        known(words.collect(), &crate::cli::Cli::command())[1..].join(" ")
    }

    #[test]
    fn flags_are_known_with_underscores_and_by_other_names() {
        for (typed, meant) in [
            ("train --lora_r 8", "train --set lora_r=8"),
            ("train --lora-r=8 --seed 3", "train --set lora_r=8 --seed 3"),
            ("train --lora_alpha 8", "train --lora-alpha 8"),
            ("train --load_in_4bit --model m", "train --set load_in_4bit=true --model m"),
            ("train --use_rslora True", "train --use-rslora=true"),
            ("train --use-dora", "train --use-dora"),
            ("train --gradient_checkpointing", "train --set gradient_checkpointing=true"),
            ("train --gradient-checkpointing auto", "train --gradient-checkpointing auto"),
            ("train --max_steps -1", "train --set max_steps=-1"),
            ("train --output_dir runs/a", "train --out runs/a"),
            ("train --num-layers 8", "train --set num_layers=8"),
            ("generate --max_new_tokens 8", "generate --max-new-tokens 8"),
            ("generate --prompt --max_new_tokens", "generate --prompt --max_new_tokens"),
            ("generate --lora_r 8", "generate --lora_r 8"),
            ("train --banana_split 1", "train --banana_split 1"),
            ("chat -- --max_new_tokens", "chat -- --max_new_tokens"),
        ] {
            assert_eq!(said(typed), meant, "{typed}");
        }
    }
}
