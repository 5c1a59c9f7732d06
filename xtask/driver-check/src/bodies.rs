//! What a GPU can get of the folder that `wgpu-lora shaders --out DIR` writes.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// How the names of bodies begin that software adapters alone get.
const SOFTWARE: [&str; 4] = ["subgroup8", "tile", "vec", "registers"];

/// One text: a body with its modules, in one form.
pub struct Body {
    /// The kernel, and the name of its entry point.
    pub kernel: String,
    /// The body's name in the kernel's table, its modules and its form.
    pub variant: String,
    pub capabilities: Vec<String>,
    pub text: String,
}

impl Body {
    pub fn label(&self) -> String {
        format!("{}[{}]", self.kernel, self.variant)
    }

    /// The body alone, as the kernel's table names it.
    pub fn name(&self) -> &str {
        name(&self.variant)
    }

    pub fn needs(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|needed| needed == capability)
    }
}

fn name(variant: &str) -> &str {
    variant.split('+').next().unwrap_or(variant)
}

/// The native texts of `dir` that are not for software adapters alone.
pub fn for_gpus(dir: &Path) -> Result<Vec<Body>> {
    let path = dir.join("manifest.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rows: Vec<Value> =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let mut bodies = Vec::new();
    for row in rows.iter().filter(|row| row["target"] == "native") {
        let string = |key: &str| {
            row[key].as_str().with_context(|| format!("{}: no string `{key}`", path.display()))
        };
        let (kernel, variant) = (string("kernel")?, string("variant")?);
        if SOFTWARE.iter().any(|start| variant.starts_with(start)) {
            continue;
        }
        let file = dir.join(string("file")?);
        let capabilities = row["capabilities"].as_array().into_iter().flatten();
        bodies.push(Body {
            kernel: kernel.into(),
            variant: variant.into(),
            capabilities: capabilities.filter_map(|name| Some(name.as_str()?.into())).collect(),
            text: std::fs::read_to_string(&file).with_context(|| file.display().to_string())?,
        });
    }
    Ok(bodies)
}

#[cfg(test)]
mod tests {
    #[test]
    fn modules_and_forms_are_no_part_of_a_bodys_name() {
        assert_eq!(super::name("workgroup_nf4+branch_lora+in_parts"), "workgroup_nf4");
        assert_eq!(super::name("baseline"), "baseline");
    }
}
