//! `shader-check DIR`: reads `DIR/manifest.json` and judges every native shader that it lists.
//!
//! Prints one block per failure and `shaders: N checked, F failed` last; exit code 1 if any failed
//! or none was there.

mod check;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;

/// One row of the manifest.
struct Row {
    file: String,
    label: String,
    capabilities: Vec<String>,
}

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: shader-check DIR   (a folder with manifest.json)");
        return ExitCode::from(2);
    };
    match run(Path::new(&dir)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("shader-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Checks the folder and returns the number of failures.
fn run(dir: &Path) -> Result<usize> {
    let path = dir.join("manifest.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rows = native_rows(&text).with_context(|| path.display().to_string())?;
    ensure!(!rows.is_empty(), "{}: no native shader", path.display());
    let mut failed = 0;
    for row in &rows {
        let path = dir.join(&row.file);
        let verdict = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|source| check::check(&source, &row.capabilities));
        if let Err(why) = verdict {
            failed += 1;
            println!("FAILED {} ({}): {why}", row.label, row.file);
        }
    }
    println!("shaders: {} checked, {failed} failed (naga: SPIR-V, MSL, HLSL)", rows.len());
    Ok(failed)
}

fn native_rows(manifest: &str) -> Result<Vec<Row>> {
    let rows: Vec<Value> = serde_json::from_str(manifest)?;
    let mut native = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let text = |key: &str| {
            row[key]
                .as_str()
                .map(String::from)
                .with_context(|| format!("row {i}: no string `{key}`"))
        };
        if text("target")? != "native" {
            continue;
        }
        let capabilities = row["capabilities"].as_array();
        let capabilities = capabilities.with_context(|| format!("row {i}: no `capabilities`"))?;
        native.push(Row {
            file: text("file")?,
            label: format!("{}[{}]", text("kernel")?, text("variant")?),
            capabilities: capabilities
                .iter()
                .map(|name| name.as_str().unwrap_or("(not a string)").to_string())
                .collect(),
        });
    }
    Ok(native)
}

#[cfg(test)]
mod tests {
    use super::native_rows;

    #[test]
    fn only_native_rows_are_taken_and_broken_rows_are_errors() {
        let rows = native_rows(
            r#"[{"file":"native/a.wgsl","kernel":"a","variant":"f32","capabilities":["f16"],"target":"native"},
                {"file":"browser/a.wgsl","kernel":"a","variant":"f32","capabilities":[],"target":"browser"}]"#,
        )
        .unwrap();
        assert_eq!((rows.len(), rows[0].label.as_str()), (1, "a[f32]"));
        assert!(native_rows(r#"[{"file":"x"}]"#).is_err());
        assert!(native_rows("{}").is_err());
    }
}
