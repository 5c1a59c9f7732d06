//! `adapters`: what adapters are there, and how alike they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::beside;
use super::session::Session;
use crate::export::{inner_product, norm};
use crate::format::{AdapterFile, TargetModules};

#[derive(Debug, Args)]
pub(super) struct AdaptersArgs {
    /// PEFT folders, or folders that hold some (a run's folder, for instance).
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Folders below a path are searched this deep.
const DEEPEST: usize = 3;

fn search(path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if path.join("adapter_config.json").is_file() {
        found.push(path.to_path_buf());
        return;
    }
    if depth == DEEPEST {
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|p| p.is_dir()).collect();
    folders.sort();
    folders.iter().for_each(|folder| search(folder, depth + 1, found));
}

pub(super) async fn run(session: &Session, args: &AdaptersArgs) -> Result<()> {
    let printer = &session.printer;
    let mut folders = Vec::new();
    for path in &args.paths {
        let before = folders.len();
        search(path, 0, &mut folders);
        if folders.len() == before {
            // Its own words for a path that is no adapter.
            AdapterFile::load(path)?;
        }
    }
    let mut adapters = Vec::new();
    for folder in folders {
        match AdapterFile::load(&folder) {
            Ok(adapter) => {
                let say = |note| printer.warn(format!("{}: {note}", folder.display()));
                adapter.notes().iter().for_each(say);
                adapters.push((folder, adapter));
            }
            Err(why) => printer.warn(format!("left out: {why}")),
        }
    }
    if adapters.is_empty() {
        bail!("no adapter there can be read");
    }
    let mut rows = vec![
        ["", "rank", "alpha", "kind", "layers", "parameters", "|ΔW|", "base", "path"]
            .map(str::to_owned),
    ];
    for (i, (folder, adapter)) in adapters.iter().enumerate() {
        let mut about = describe(folder, adapter);
        about["neighbours"] = neighbours(session, folder)?;
        let text = |key: &str| match &about[key] {
            Value::String(text) => text.clone(),
            Value::Null => "unknown".to_owned(),
            other => other.to_string(),
        };
        rows.push([
            (i + 1).to_string(),
            text("rank"),
            text("alpha"),
            text("kind"),
            format!("{} ({})", text("layers"), text("modules")),
            text("parameters"),
            format!("{:.4}", about["norm"].as_f64().unwrap_or(0.0)),
            text("base_model"),
            folder.display().to_string(),
        ]);
        printer.object(&about)?;
    }
    table(session, &rows)?;
    compare(session, &adapters)
}

/// What training texts and prices the adapter carries, if any.
fn neighbours(session: &Session, folder: &Path) -> Result<Value> {
    let Some((settings, products)) = beside::index_settings(folder)? else {
        return Ok(Value::Null);
    };
    session.printer.note(format!(
        "{}: carries texts and prices of {products} training products for {} neighbours a prompt",
        folder.display(),
        settings.neighbours
    ));
    Ok(json!({"neighbours": settings.neighbours, "products": products}))
}

fn describe(folder: &Path, adapter: &AdapterFile) -> Value {
    let config = &adapter.config;
    let parameters: usize = adapter.tensors.values().map(|(_, values)| values.len()).sum();
    let kind = match (config.use_dora, config.use_rslora) {
        (true, true) => "DoRA, rsLoRA",
        (true, false) => "DoRA",
        (false, true) => "rsLoRA",
        _ => "LoRA",
    };
    let modules = match &config.target_modules {
        TargetModules::Named(names) => {
            let mut names = names.clone();
            names.sort();
            names.join(",")
        }
        other => other.to_string(),
    };
    json!({
        "path": folder,
        "rank": config.rank,
        "alpha": config.alpha,
        "scaling": config.scaling(),
        "kind": kind,
        "modules": modules,
        "exclude_modules": config.exclude_modules.as_ref().map(TargetModules::to_string),
        "layers": adapter.modules().len(),
        "parameters": parameters,
        "rank_pattern": config.rank_pattern,
        "alpha_pattern": config.alpha_pattern,
        "layers_to_transform": config.layers_to_transform,
        "base_model": config.base_model_name_or_path,
        "norm": norm(adapter),
    })
}

/// Columns as wide as their widest entry.
fn table(session: &Session, rows: &[[String; 9]]) -> Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..9).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        session.printer.line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// How alike the changes of each pair are: the cosine of the angle between all ΔW of one and of the
/// other, and what settings differ.
fn compare(session: &Session, adapters: &[(PathBuf, AdapterFile)]) -> Result<()> {
    for (i, (first, a)) in adapters.iter().enumerate() {
        for (j, (second, b)) in adapters.iter().enumerate().skip(i + 1) {
            let product = norm(a) * norm(b);
            let cosine = inner_product(a, b).filter(|_| product > 0.0).map(|p| p / product);
            let differ = differences(&describe(first, a), &describe(second, b));
            let said = match cosine {
                Some(cosine) => format!("cosine of ΔW {cosine:.4}"),
                None => "of models of other shapes".to_owned(),
            };
            let list: Vec<String> = differ.keys().cloned().collect();
            let settings =
                if list.is_empty() { "same settings".into() } else { list.join(", ") + " differ" };
            session.printer.line(format!("{} and {}: {said}; {settings}", i + 1, j + 1))?;
            session.printer.object(&json!({
                "first": first, "second": second, "cosine": cosine, "differences": differ,
            }))?;
        }
    }
    Ok(())
}

fn differences(a: &Value, b: &Value) -> BTreeMap<String, [Value; 2]> {
    let measured = ["path", "norm"];
    let all = a.as_object().into_iter().flatten();
    let differ = all.filter(|(key, value)| !measured.contains(&key.as_str()) && **value != b[*key]);
    differ.map(|(key, value)| (key.clone(), [value.clone(), b[key].clone()])).collect()
}
