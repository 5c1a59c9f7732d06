//! Every body that a GPU can get through Mesa's compiler for that GPU.
//!
//! A stub of the kernel driver makes Mesa's Vulkan driver open a device of hardware that is not
//! here. Pipelines go through the vendor's whole compiler; dispatches do nothing. driver-check
//! makes them and holds what they spill to `spills.txt`.

use super::{debian, watch};
use crate::sh;
use crate::shaders::{self, Verdict};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// A GPU that is not here.
pub struct Gpu {
    pub name: &'static str,
    pub about: &'static str,
    driver: &'static str,
    stub: &'static str,
    /// Which chip the stub plays, where it can play several.
    chip: Option<(&'static str, &'static str)>,
}

pub const GPUS: [Gpu; 6] = [
    Gpu {
        name: "amd-rdna3",
        about: "RADV, Navi 31 (Radeon RX 7900)",
        driver: "radeon",
        stub: "amdgpu",
        chip: Some(("AMDGPU_GPU_ID", "navi31")),
    },
    Gpu {
        name: "amd-gcn4",
        about: "RADV, Polaris 10 (Radeon RX 580)",
        driver: "radeon",
        stub: "amdgpu",
        chip: Some(("AMDGPU_GPU_ID", "polaris10")),
    },
    Gpu {
        name: "nvidia-ampere",
        about: "NVK, GA102 (GeForce RTX 3090)",
        driver: "nouveau",
        stub: "nouveau",
        chip: Some(("NOUVEAU_CHIPSET", "172")),
    },
    Gpu {
        name: "nvidia-ada",
        about: "NVK, AD102 (GeForce RTX 4090)",
        driver: "nouveau",
        stub: "nouveau",
        chip: Some(("NOUVEAU_CHIPSET", "192")),
    },
    Gpu {
        name: "apple-m1",
        about: "Honeykrisp, Apple M1",
        driver: "asahi",
        stub: "asahi",
        chip: None,
    },
    Gpu {
        name: "adreno-750",
        about: "Turnip, Adreno 750 (Snapdragon 8 Gen 3)",
        driver: "freedreno",
        stub: "freedreno",
        chip: Some(("FD_GPU_ID", "750")),
    },
];

pub fn gpu(name: &str) -> Option<&'static Gpu> {
    GPUS.iter().find(|gpu| gpu.name == name)
}

pub fn all() -> Result<Verdict> {
    on(&GPUS.iter().collect::<Vec<_>>())
}

/// The pipelines on these GPUs.
pub fn on(gpus: &[&Gpu]) -> Result<Verdict> {
    let mesa = debian::SID.ensure()?;
    // Together with the program, so that both share one build of wgpu.
    let build = ["build", "--release", "--package", "wgpu-lora", "--package", "driver-check"];
    sh::run(sh::cargo(&build).arg("--bins"))?;
    let shaders = shaders::write_shaders()?;
    let target = sh::target_dir()?;
    let folder = target.join("drivers");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut verdict = Verdict { ok: true, lines: Vec::new() };
    for gpu in gpus {
        let out = folder.join(format!("{}.jsonl", gpu.name));
        let checker = target.join("release/driver-check");
        let mut check = mesa.vulkan(gpu.driver, Some(gpu.stub), &checker);
        check.arg(&shaders).arg(gpu.name);
        check.arg(sh::root().join("xtask/src/drivers/spills.txt")).arg(&out);
        // The compiler is what is asked, not what it made yesterday.
        check.envs(gpu.chip).env("MESA_SHADER_CACHE_DISABLE", "true");
        let before = verdict.lines.len();
        let ok = watch(&mut verdict, &mut check)?;
        let ended = verdict.lines[before..].iter().any(|line| line.starts_with("pipelines: "));
        if !ok && !ended {
            let text = unfinished(&out).unwrap_or_else(|| "before any text".into());
            verdict.lines.push(format!("FAILED {}: the process ended at {text}", gpu.name));
        }
    }
    Ok(verdict)
}

/// The text that the driver was at when it took the process down: the last line has no end.
fn unfinished(out: &Path) -> Option<String> {
    let log = fs::read_to_string(out).ok()?;
    let last = log.lines().last()?.strip_prefix("{\"text\":\"")?;
    last.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_at_which_a_process_ended_is_named() {
        let file =
            std::env::temp_dir().join(format!("wgpu-lora-unfinished-{}", std::process::id()));
        std::fs::write(&file, "{\"text\":\"a[b]\",\"ms\":1,\"said\":{}}\n{\"text\":\"c[d]\"")
            .unwrap();
        assert_eq!(super::unfinished(&file).as_deref(), Some("c[d]"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(super::unfinished(&file), None);
    }
}
