//! `cargo xtask reports`: README's table of what ran where, from the reports of `wgpu-lora doctor`
//! in `benches/runs/*/doctor.json`. A test holds the table to them.

use crate::sh;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What stands around the table.
const BEGIN: &str = "<!-- cargo xtask reports -->\n";
const END: &str = "<!-- end of reports -->\n";

/// Writes the table into README.md.
pub fn command() -> Result<()> {
    let root = sh::root();
    let path = root.join("README.md");
    let page = read(&path)?;
    fs::write(&path, with_table(&page, &table(&root)?)?).with_context(|| path.display().to_string())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The page with this table in place of what stands there.
fn with_table(page: &str, table: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else { bail!("README.md lost `{}`", BEGIN.trim()) };
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// A row for each report, in the order of their folders, which begin with the day.
fn table(root: &Path) -> Result<String> {
    let runs = root.join("benches/runs");
    let mut reports = BTreeMap::new();
    for entry in fs::read_dir(&runs).with_context(|| runs.display().to_string())? {
        let entry = entry?;
        let path = entry.path().join("doctor.json");
        if path.exists() {
            let report =
                serde_json::from_str(&read(&path)?).with_context(|| path.display().to_string())?;
            reports.insert(entry.file_name().to_string_lossy().into_owned(), report);
        }
    }
    let mut table = String::from(
        "| adapter, driver | system | variants of kernels | products | model | step | prompt | \
         generation |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (folder, report) in &reports {
        table += &row(folder, report);
    }
    Ok(table)
}

/// `| [a card](…), driver | Vulkan, linux | 400 right | 49 % | … |`
fn row(folder: &str, report: &Value) -> String {
    let words = |value: &Value| value.as_str().unwrap_or("—").replace('|', "\\|");
    let (adapter, driver) = (words(&report["adapter"]), words(&report["driver"]));
    let system = [&report["info"]["device"]["backend"], &report["system"]].map(words).join(", ");
    let kernels = report["kernels"].as_array().map(Vec::as_slice).unwrap_or_default();
    // A variant has a row for each size that was timed.
    let variants: BTreeMap<_, _> =
        kernels.iter().map(|row| ((words(&row["name"]), words(&row["variant"])), row)).collect();
    let judged = |ok: bool| variants.values().filter(|row| row["ok"] == ok).count();
    let right = match (judged(true), judged(false)) {
        (right, 0) => format!("{right} right"),
        (right, wrong) => format!("{right} right, **{wrong} wrong**"),
    };
    // Of the largest product; of small ones a driver may keep in its caches what copies fetch.
    let share = |row: &Value| match row["name"] == "linear_fwd" {
        true => row["percent_of_ceiling"].as_f64().map(|share| (row["flops"].as_u64(), share)),
        false => None,
    };
    let largest =
        kernels.iter().filter_map(share).max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let products = largest.map_or("—".into(), |(_, share)| format!("{share:.0} %"));
    let pass = |pass: &str, size: String| {
        let row = &report[pass];
        row["tokens_per_second"].as_f64().map_or("—".into(), |speed| format!("{speed:.1}{size}"))
    };
    let [batch, seq] = ["batch", "seq"].map(|key| &report["step"][key]);
    let step = pass("step", format!(" ({batch} x {seq})"));
    let (prompt, generation) = (pass("prefill", String::new()), pass("decode", String::new()));
    let mut row = format!("| [{adapter}](benches/runs/{folder}/doctor.json), {driver} | {system} ");
    let _ = writeln!(
        row,
        "| {right} | {products} | {} | {step} | {prompt} | {generation} |",
        words(&report["model_shape"])
    );
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_readme_has_the_table_that_the_reports_make() {
        let page = read(&sh::root().join("README.md")).unwrap();
        let made = with_table(&page, &table(&sh::root()).unwrap()).unwrap();
        assert_eq!(page, made, "README.md is not of these reports: cargo xtask reports");
    }

    #[test]
    fn a_row_says_what_is_wrong_and_what_is_not_known() {
        let kernel = |variant: &str, ok: bool, percent: f64| json!({"name": "linear_fwd", "variant": variant, "ok": ok, "percent_of_ceiling": percent});
        let report = json!({
            "adapter": "A|B", "driver": "d 1", "system": "linux x86_64",
            "info": {"device": {"backend": "Vulkan"}}, "model_shape": "tiny",
            "kernels": [kernel("a", true, 40.0), kernel("a", true, 50.4), kernel("b", false, 9.0)],
            "step": {"tokens_per_second": 19.33, "batch": 1, "seq": 32},
            "prefill": null, "decode": null,
        });
        assert_eq!(
            row("day", &report),
            "| [A\\|B](benches/runs/day/doctor.json), d 1 | Vulkan, linux x86_64 \
             | 1 right, **1 wrong** | 50 % | tiny | 19.3 (1 x 32) | — | — |\n"
        );
    }

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(with_table(&page, "new\n").unwrap(), format!("a\n{BEGIN}new\n{END}b\n"));
        assert!(with_table("a\n", "new\n").is_err());
    }
}
