//! `shaders`: the text of every kernel variant, for compilers that judge it without a device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::session::Session;
use crate::gpu::{COOPERATIVE, Form, Selection, Target};
use crate::kernels;

#[derive(Debug, Args)]
pub(super) struct ShadersArgs {
    /// Gets native/, browser/ and manifest.json.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(session: &Session, args: &ShadersArgs) -> Result<()> {
    let mut manifest = Vec::new();
    for (folder, target) in [("native", Target::Native), ("browser", Target::Browser)] {
        let dir = args.out.join(folder);
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let whole = kernels::ALL.iter().flat_map(|kernel| kernel.variants());
        for selection in whole.flat_map(forms) {
            let capabilities = selection.capabilities();
            if target == Target::Browser && capabilities.contains(&COOPERATIVE) {
                continue;
            }
            let name = selection.name();
            let variant = name.trim_start_matches(selection.kernel.name);
            let variant = variant.trim_matches(['[', ']']);
            let file = format!("{folder}/{}-{}.wgsl", selection.kernel.name, variant);
            write(&args.out.join(&file), selection.text(target).as_bytes())?;
            manifest.push(json!({
                "file": file,
                "kernel": selection.kernel.name,
                "variant": variant,
                "capabilities": capabilities,
                "target": folder,
            }));
        }
    }
    write(&args.out.join("manifest.json"), &serde_json::to_vec_pretty(&manifest)?)?;
    session.printer.line(format!("{} shaders in {}", manifest.len(), args.out.display()))?;
    session.printer.object(&json!({"shaders": manifest.len(), "out": args.out}))
}

/// A variant in every form in which it may run.
fn forms(whole: Selection) -> Vec<Selection> {
    let mut forms = vec![whole.with(Form::InPart)];
    if whole.kernel.joins {
        forms.push(whole.with(Form::Together));
    }
    forms.push(whole);
    forms
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
