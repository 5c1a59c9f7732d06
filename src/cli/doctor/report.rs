//! What was found: doctor.json for programs, doctor.md for people. Neither says who or where: words
//! that are paths lose their folders.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::line::Line;
use crate::cli::bench::timing::parted;
use crate::format::write_atomic;

/// What the stages told so far.
pub(super) struct Report {
    document: Map<String, Value>,
    stages: Vec<Value>,
    /// What is wrong, in all stages.
    wrong: Vec<String>,
    /// Of the stage that runs.
    now: Stage,
}

#[derive(Default)]
struct Stage {
    wrong: Vec<String>,
    summary: Option<String>,
}

/// Fields that are always there, in this order.
const FIELDS: [&str; 22] = [
    "version",
    "adapter",
    "driver",
    "system",
    "verdict",
    "seconds",
    "quick",
    "stages",
    "wrong",
    "ceilings",
    "model_shape",
    "step",
    "prefill",
    "decode",
    "planned_bytes",
    "measured_bytes",
    "longest_submission_ms",
    "choices",
    "contests",
    "training",
    "kernels",
    "info",
];

impl Report {
    pub(super) fn new(quick: bool) -> Report {
        let mut document: Map<String, Value> =
            FIELDS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        document["version"] = env!("CARGO_PKG_VERSION").into();
        document["system"] = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH).into();
        document["quick"] = quick.into();
        Report { document, stages: Vec::new(), wrong: Vec::new(), now: Stage::default() }
    }

    /// What a stage tells.
    pub(super) fn take(&mut self, line: Line) {
        match line {
            Line::Doing(_) => {}
            Line::Field(name, value) => drop(self.document.insert(name, discreet(value))),
            Line::Row(list, row) => {
                let rows = self.document.entry(list).or_insert(Value::Null);
                match rows {
                    Value::Array(rows) => rows.push(discreet(row)),
                    other => *other = json!([discreet(row)]),
                }
            }
            Line::Wrong(what) => self.now.wrong.push(without_folders(&what)),
            Line::Summary(found) => self.now.summary = Some(without_folders(&found)),
        }
    }

    /// The stage is over: whether it came to its end, and what it found in a line.
    pub(super) fn end_stage(
        &mut self,
        name: &str,
        end: Result<(), String>,
        took: Duration,
    ) -> String {
        let Stage { mut wrong, summary } = std::mem::take(&mut self.now);
        wrong.extend(end.err().map(|why| without_folders(&why)));
        let message = match wrong.as_slice() {
            [] => summary.unwrap_or_default(),
            [one] => one.clone(),
            [first, others @ ..] => format!("{first} (and {} more)", others.len()),
        };
        self.stages.push(json!({
            "name": name,
            "ok": wrong.is_empty(),
            "seconds": took.as_secs_f64(),
            "message": message,
        }));
        let told = if wrong.is_empty() { "right" } else { "wrong" };
        self.wrong.extend(wrong.into_iter().map(|what| format!("{name}: {what}")));
        format!("{told}: {message}")
    }

    /// All stages are over.
    pub(super) fn finish(&mut self, took: Duration) {
        let verdict = self.verdict();
        let kernels = kernels(self.document.remove("checks"), self.document.remove("timed"));
        let own = [
            ("verdict", verdict.into()),
            ("seconds", took.as_secs_f64().into()),
            ("stages", self.stages.clone().into()),
            ("wrong", self.wrong.clone().into()),
            ("kernels", kernels),
        ];
        for (name, value) in own {
            self.document[name] = value;
        }
    }

    pub(super) fn ok(&self) -> bool {
        self.wrong.is_empty()
    }

    /// In plain words.
    pub(super) fn verdict(&self) -> String {
        let adapter = self.document["adapter"].as_str().unwrap_or("this adapter");
        match self.wrong.as_slice() {
            [] => format!("everything that was tried is right on {adapter}"),
            [one] => format!("one thing is wrong on {adapter}: {one}"),
            all => format!("{} things are wrong on {adapter}, first: {}", all.len(), all[0]),
        }
    }

    pub(super) fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// The verdict and a line for each stage.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{}\n", self.verdict());
        for stage in &self.stages {
            let ok = if stage["ok"] == true { "right" } else { "WRONG" };
            let (name, message) = (words(&stage["name"]), words(&stage["message"]));
            let _ = writeln!(text, "  {name:<9} {ok}  {message}");
        }
        text
    }

    /// Writes doctor.json and doctor.md, each as a whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let json = serde_json::to_vec_pretty(&self.document)?;
        for (name, bytes) in [("doctor.json", json), ("doctor.md", self.page().into_bytes())] {
            let path = folder.join(name);
            write_atomic(&path, |file| file.write_all(&bytes).map_err(crate::Error::io(&path)))?;
        }
        Ok(())
    }

    /// What a person pastes.
    fn page(&self) -> String {
        let d = &self.document;
        let mut page = String::new();
        let mut line = |text: String| {
            page.push_str(&text);
            page.push('\n');
        };
        line(format!("# wgpu-lora doctor: {}\n", words(&d["adapter"])));
        line(format!("**{}**\n", self.verdict()));
        line(format!(
            "wgpu-lora {}, driver {}, {}, {:.0} s{}\n",
            words(&d["version"]),
            words(&d["driver"]),
            words(&d["system"]),
            d["seconds"].as_f64().unwrap_or_default(),
            if d["quick"] == true { ", quick" } else { "" }
        ));
        line("| stage | | seconds | found |\n|---|---|---|---|".into());
        for stage in &self.stages {
            let ok = if stage["ok"] == true { "right" } else { "**wrong**" };
            let (name, found) = (words(&stage["name"]), cell(&stage["message"]));
            line(format!("| {name} | {ok} | {} | {found} |", number(&stage["seconds"], 0)));
        }
        if !self.wrong.is_empty() {
            line("\n## What is wrong\n".into());
            self.wrong.iter().for_each(|what| line(format!("- {what}")));
        }
        line("\n## Speed\n\n| | |\n|---|---|".into());
        let c = &d["ceilings"];
        for (what, value, unit) in [
            ("copies", &c["copy_gbps"], "GB/s"),
            ("f32 multiply-adds", &c["fma_gflops"], "GFLOP/s"),
            ("f16 multiply-adds", &c["fma_f16_gflops"], "GFLOP/s"),
            ("products on matrix units", &c["matrix_gflops"], "GFLOP/s"),
        ] {
            line(format!("| {what} | {} {unit} |", number(value, 1)));
        }
        for (what, key) in
            [("training step", "step"), ("prompt", "prefill"), ("generation", "decode")]
        {
            let speed = number(&d[key]["tokens_per_second"], 1);
            line(format!("| {what}, {} | {speed} tokens/s |", words(&d["model_shape"])));
        }
        let mib = |value: &Value| match value.as_u64() {
            Some(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
            None => "—".into(),
        };
        let (planned, measured) = (mib(&d["planned_bytes"]), mib(&d["measured_bytes"]));
        line(format!("| memory of the step, planned and measured | {planned}, {measured} |"));
        let longest = number(&d["longest_submission_ms"], 1);
        line(format!("| longest submission | {longest} ms |"));
        line(self.choices());
        line(self.table());
        let info = serde_json::to_string_pretty(&d["info"]).unwrap_or_default();
        line(details("Adapters, limits, features, variants", &format!("```json\n{info}\n```")));
        page
    }

    /// What a measurement would choose.
    fn choices(&self) -> String {
        let mut table = String::from("| product | ships | chosen | ms |\n|---|---|---|---|\n");
        for row in self.document["contests"].as_array().into_iter().flatten() {
            let ms = row["ms"].as_object().into_iter().flatten();
            let ms: Vec<_> = ms.map(|(body, ms)| format!("{body} {}", number(ms, 3))).collect();
            let [product, ships, chosen] =
                ["context", "ships", "chosen"].map(|key| words(&row[key]));
            let _ = writeln!(table, "| {product} | {ships} | {chosen} | {} |", ms.join(", "));
        }
        details("What a measurement of bodies chooses", &table)
    }

    fn table(&self) -> String {
        let mut table = String::from(
            "| kernel | variant | model, size | GFLOP/s | % of ceiling | error | bound | |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for row in self.document["kernels"].as_array().into_iter().flatten() {
            let [kernel, variant, model, shape] =
                ["name", "variant", "model_shape", "shape"].map(|key| words(&row[key]));
            let [gflops, percent] =
                ["gflops", "percent_of_ceiling"].map(|key| number(&row[key], 1));
            let [error, bound] = ["error", "bound"].map(|key| match row[key].as_f64() {
                Some(value) => format!("{value:.1e}"),
                None => "—".into(),
            });
            let ok = match row["ok"].as_bool() {
                Some(true) => "right",
                Some(false) => "**wrong**",
                None => "unchecked",
            };
            let _ = writeln!(
                table,
                "| {kernel} | {variant} | {model} {shape} | {gflops} | {percent} | {error} | {bound} | {ok} |"
            );
        }
        details("Every kernel", &table)
    }
}

fn details(title: &str, inside: &str) -> String {
    format!("\n<details><summary>{title}</summary>\n\n{}\n\n</details>", inside.trim_end())
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("—")
}

/// Words in a cell of a table.
fn cell(value: &Value) -> String {
    words(value).replace('|', "\\|").replace('\n', " ")
}

fn number(value: &Value, digits: usize) -> String {
    value.as_f64().map_or("—".into(), |value| format!("{value:.digits$}"))
}

/// A row for every size that was timed, with its variant's check, and one for every other variant.
fn kernels(checks: Option<Value>, timed: Option<Value>) -> Value {
    let rows = |value: Option<Value>| match value {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    };
    let mut checks: BTreeMap<String, (Value, bool)> = rows(checks)
        .into_iter()
        .map(|check| (words(&check["variant"]).to_owned(), (check, false)))
        .collect();
    let mut all = Vec::new();
    for mut row in rows(timed) {
        let variant = format!("{}[{}]", words(&row["name"]), words(&row["variant"]));
        let check = checks.get_mut(&variant);
        for key in ["error", "bound", "ok"] {
            row[key] = check.as_ref().map_or(Value::Null, |(check, _)| check[key].clone());
        }
        check.into_iter().for_each(|(_, is_timed)| *is_timed = true);
        all.push(row);
    }
    for (variant, (check, _)) in checks.into_iter().filter(|(_, (_, is_timed))| !is_timed) {
        let (kernel, rest) = parted(&variant);
        all.push(json!({
            "name": kernel, "variant": rest, "shape": null, "gflops": null,
            "percent_of_ceiling": null,
            "error": check["error"], "bound": check["bound"], "ok": check["ok"],
        }));
    }
    all.into()
}

/// All words in it without folders.
fn discreet(value: Value) -> Value {
    match value {
        Value::String(text) => without_folders(&text).into(),
        Value::Array(all) => all.into_iter().map(discreet).collect(),
        Value::Object(all) => all.into_iter().map(|(key, value)| (key, discreet(value))).collect(),
        other => other,
    }
}

/// `/home/me/drivers/x.so: gone` as `x.so: gone`.
fn without_folders(text: &str) -> String {
    let name = |word: &str| {
        let start = word.find(|c: char| c == '/' || c.is_alphanumeric()).unwrap_or(0);
        let (before, path) = word.split_at(start);
        let is_windows = path.get(1..3) == Some(":\\");
        let is_path = is_windows || path.starts_with('/') && path.len() > 1;
        let last = path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(path);
        if is_path { format!("{before}{last}") } else { word.to_owned() }
    };
    text.split(' ').map(name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_paths_lose_their_folders() {
        for (text, told) in [
            ("cannot open `/home/me/lib/x.so`: gone", "cannot open `x.so`: gone"),
            (r"C:\Users\me\x.dll is missing", "x.dll is missing"),
            (
                "27 GFLOP/s, a / b, linear_fwd[tile+rows_f32]",
                "27 GFLOP/s, a / b, linear_fwd[tile+rows_f32]",
            ),
            ("(/usr/share/vulkan/)", "()"),
        ] {
            assert_eq!(without_folders(text), told);
        }
    }

    #[test]
    fn a_failed_stage_keeps_what_it_told_and_the_next_begins_anew() {
        let mut report = Report::new(true);
        report.take(Line::Field("adapter".into(), "A card".into()));
        report.take(Line::Row(
            "checks".into(),
            json!({"variant": "add[x]", "error": 1, "bound": 2, "ok": true}),
        ));
        report.take(Line::Wrong("first".into()));
        let told = report.end_stage("kernels", Err("hung".into()), Duration::from_secs(1));
        assert_eq!(told, "wrong: first (and 1 more)");
        report.take(Line::Summary("fine".into()));
        assert_eq!(report.end_stage("speed", Ok(()), Duration::ZERO), "right: fine");
        report.finish(Duration::from_secs(2));
        assert_eq!(report.verdict(), "2 things are wrong on A card, first: kernels: first");
        let d = report.document();
        assert_eq!(d["kernels"][0]["variant"], "x");
        assert_eq!(
            (d["stages"][0]["ok"].clone(), d["stages"][1]["ok"].clone()),
            (false.into(), true.into())
        );
        assert!(FIELDS.iter().all(|field| d.contains_key(*field)));
        assert!(report.page().contains("- kernels: hung"));
    }

    #[test]
    fn a_timed_size_has_the_check_of_its_variant() {
        let checks = json!([
            {"variant": "add[a]", "error": 0.5, "bound": 1.0, "ok": true},
            {"variant": "add[b]", "error": 2.0, "bound": 1.0, "ok": false},
        ]);
        let timed = json!([{"name": "add", "variant": "a", "shape": "1x2x3", "gflops": 4.0}]);
        let all = kernels(Some(checks), Some(timed));
        assert_eq!(all.as_array().unwrap().len(), 2);
        assert_eq!((&all[0]["error"], &all[0]["gflops"]), (&json!(0.5), &json!(4.0)));
        assert_eq!((&all[1]["variant"], &all[1]["ok"]), (&json!("b"), &json!(false)));
    }
}
