//! `shader-check DIR [OUT]`: reads `DIR/manifest.json` and judges every native shader that it
//! lists.
//!
//! Prints one block per failure and `shaders: N checked, F failed` last; exit code 1 if any failed
//! or none was there. OUT gets what drivers get, for other judges: `NAME.spv`, `NAME.hlsl`, and
//! `hlsl.txt` with a line `NAME.hlsl ENTRY` for each of these.

mod check;

use anyhow::{Context, Result, ensure};
use check::Emitted;
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
    let mut words = std::env::args_os().skip(1);
    let Some(dir) = words.next() else {
        eprintln!("usage: shader-check DIR [OUT]   (DIR: a folder with manifest.json)");
        return ExitCode::from(2);
    };
    match run(Path::new(&dir), words.next().as_deref().map(Path::new)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("shader-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Checks the folder and returns the number of failures.
fn run(dir: &Path, out: Option<&Path>) -> Result<usize> {
    let path = dir.join("manifest.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rows = native_rows(&text).with_context(|| path.display().to_string())?;
    ensure!(!rows.is_empty(), "{}: no native shader", path.display());
    let mut failed = 0;
    let mut entries = String::new();
    for row in &rows {
        let path = dir.join(&row.file);
        let verdict = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|source| check::check(&source, &row.capabilities));
        match (verdict, out) {
            (Err(why), _) => {
                failed += 1;
                println!("FAILED {} ({}): {why}", row.label, row.file);
            }
            (Ok(emitted), Some(out)) => entries += &write(out, &row.file, emitted)?,
            (Ok(_), None) => {}
        }
    }
    if let Some(out) = out {
        std::fs::write(out.join("hlsl.txt"), entries)?;
    }
    println!("shaders: {} checked, {failed} failed (naga: SPIR-V, MSL, HLSL)", rows.len());
    Ok(failed)
}

/// Writes the texts of a shader; returns its lines for `hlsl.txt`.
fn write(out: &Path, file: &str, emitted: Emitted) -> Result<String> {
    let name = Path::new(file).file_stem().context("a shader without a name")?.to_string_lossy();
    let bytes: Vec<u8> = emitted.spirv.iter().flat_map(|word| word.to_le_bytes()).collect();
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    std::fs::write(out.join(format!("{name}.spv")), bytes)?;
    let Some((text, entry)) = emitted.hlsl else { return Ok(String::new()) };
    std::fs::write(out.join(format!("{name}.hlsl")), text)?;
    Ok(format!("{name}.hlsl {entry}\n"))
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
