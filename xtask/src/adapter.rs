//! Makes sure that a graphics adapter answers: hardware if there is some, else Mesa's software
//! driver.
//!
//! Only Linux needs this: macOS always has Metal, and Windows has WARP behind DX12.

use crate::sh;
use anyhow::{Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment for the programs that need an adapter.
#[derive(Debug, Default, PartialEq)]
pub struct Adapter {
    /// What it is, for people.
    pub about: String,
    /// Variables to set; empty where the defaults are right.
    pub env: Vec<(&'static str, String)>,
}

impl Adapter {
    /// Sets the variables on a command.
    pub fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        // Mesa's device-select layer asks a display server for its choice, and complains where
        // there is none.
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            command.env("NODEVICE_SELECT", "1");
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)))
    }
}

/// Kernel driver (as sysfs names it) and what the file names of its Vulkan drivers contain.
const DRIVERS: [(&str, &[&str]); 14] = [
    ("nvidia", &["nvidia"]),
    ("nouveau", &["nouveau"]),
    ("amdgpu", &["radeon", "amd"]),
    ("radeon", &["radeon"]),
    ("i915", &["intel"]),
    ("xe", &["intel"]),
    ("asahi", &["asahi"]),
    ("msm", &["freedreno"]),
    ("msm_dpu", &["freedreno"]),
    ("v3d", &["broadcom"]),
    ("panfrost", &["panfrost"]),
    ("panthor", &["panfrost"]),
    ("powervr", &["powervr"]),
    ("virtio_gpu", &["virtio", "gfxstream"]),
];

/// Packages with the loader and the software driver, per package manager.
const INSTALLS: [(&str, &str); 6] = [
    ("apt-get", "apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1"),
    ("dnf", "dnf install -y mesa-vulkan-drivers vulkan-loader"),
    ("pacman", "pacman -S --needed vulkan-swrast vulkan-icd-loader"),
    ("zypper", "zypper install -y libvulkan_lvp libvulkan1"),
    ("apk", "apk add mesa-vulkan-swrast vulkan-loader"),
    ("xbps-install", "xbps-install -y mesa-vulkan-lavapipe vulkan-loader"),
];

/// Finds an adapter, installing lavapipe where there is none.
pub fn ensure() -> Result<Adapter> {
    if !cfg!(target_os = "linux") {
        return Ok(plain("the system's own graphics API"));
    }
    for chosen in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "WGPU_BACKEND", "WGPU_LORA_DEVICE"] {
        if let Some(value) = std::env::var_os(chosen).filter(|value| !value.is_empty()) {
            return Ok(plain(&format!("as {chosen}={} says", value.to_string_lossy())));
        }
    }
    let icds = icd_files(&icd_folders());
    if let Some(about) = hardware(&kernel_drivers(), &icds) {
        return Ok(plain(&about));
    }
    if let (Some(icd), true) = (lavapipe(&icds), has_loader()) {
        return Ok(software(icd));
    }
    install()?;
    match lavapipe(&icd_files(&icd_folders())) {
        Some(icd) if has_loader() => Ok(software(icd)),
        _ => bail!(
            "no Vulkan driver after installing one: `ls /usr/share/vulkan/icd.d` shows none for lavapipe"
        ),
    }
}

fn plain(about: &str) -> Adapter {
    Adapter { about: about.to_string(), env: Vec::new() }
}

/// Lavapipe and nothing else: other drivers of the same package would only be asked for hardware
/// that is not there.
fn software(icd: &Path) -> Adapter {
    let icd = icd.display().to_string();
    Adapter {
        about: "lavapipe, Mesa's software driver (no GPU with a Vulkan driver here)".into(),
        env: vec![
            ("VK_DRIVER_FILES", icd.clone()),
            ("VK_ICD_FILENAMES", icd),
            ("WGPU_BACKEND", "vulkan".into()),
        ],
    }
}

fn install() -> Result<()> {
    let manager = INSTALLS.iter().find(|(program, _)| sh::works(program, &["--version"]));
    let Some(&(program, line)) = manager else {
        bail!(
            "no Vulkan adapter, and no package manager that this program knows: install Mesa's lavapipe (a software Vulkan driver) and the Vulkan loader"
        );
    };
    if program != "apt-get" {
        bail!("no Vulkan adapter. Install Mesa's software driver, then run this again:\n  {line}");
    }
    println!(
        "adapter: no Vulkan driver for a GPU here; installing Mesa's software driver (lavapipe) and the Vulkan loader"
    );
    println!("adapter: packages mesa-vulkan-drivers libvulkan1 and what they need (about 40 MB)");
    sh::apt_install(&["mesa-vulkan-drivers", "libvulkan1"])
}

/// Where the Vulkan loader looks for drivers.
fn icd_folders() -> Vec<PathBuf> {
    let list = |name: &str, default: &str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        value.unwrap_or_else(|| default.to_string())
    };
    let mut roots = vec![PathBuf::from("/etc"), PathBuf::from("/usr/local/etc")];
    if let Some(home) = std::env::var_os("HOME") {
        roots.push(Path::new(&home).join(".config"));
        roots.push(Path::new(&home).join(".local/share"));
    }
    let dirs =
        [list("XDG_CONFIG_DIRS", "/etc/xdg"), list("XDG_DATA_DIRS", "/usr/local/share:/usr/share")];
    roots.extend(dirs.iter().flat_map(|dirs| dirs.split(':')).map(PathBuf::from));
    roots.iter().map(|root| root.join("vulkan/icd.d")).collect()
}

/// Every driver manifest of this processor's architecture.
fn icd_files(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .filter(|path| {
            let name = path.to_string_lossy().into_owned();
            let other = ["i686", "i386", "x86_64", "aarch64", "armv7"];
            !other.iter().any(|arch| name.contains(arch) && *arch != std::env::consts::ARCH)
        })
        .collect();
    files.sort();
    files.dedup();
    files
}

fn lavapipe(icds: &[PathBuf]) -> Option<&Path> {
    icds.iter().find(|path| stem(path).contains("lvp")).map(PathBuf::as_path)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Kernel drivers of the GPUs that are here.
fn kernel_drivers() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/class/drm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("renderD") {
            let driver = fs::read_link(entry.path().join("device/driver")).ok();
            found
                .extend(driver.and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned())));
        }
    }
    // In a container the device nodes may be there without sysfs' view of them.
    if Path::new("/dev/nvidiactl").exists() {
        found.push("nvidia".into());
    }
    found
}

/// A GPU with a Vulkan driver for it, in words.
fn hardware(kernel: &[String], icds: &[PathBuf]) -> Option<String> {
    for driver in kernel {
        let Some((_, parts)) = DRIVERS.iter().find(|(name, _)| name == driver) else { continue };
        let icd = icds.iter().find(|icd| parts.iter().any(|part| stem(icd).contains(part)));
        if let Some(icd) = icd {
            return Some(format!(
                "a GPU (kernel driver {driver}, Vulkan driver {})",
                icd.display()
            ));
        }
    }
    None
}

/// Whether the Vulkan loader is installed, where distributions put it.
fn has_loader() -> bool {
    let arch = std::env::consts::ARCH;
    let multiarch = [format!("/usr/lib/{arch}-linux-gnu"), format!("/lib/{arch}-linux-gnu")];
    let plain = ["/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/local/lib"].map(String::from);
    let mut folders: Vec<PathBuf> = multiarch.iter().chain(&plain).map(PathBuf::from).collect();
    let more = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&more));
    folders.iter().any(|folder| folder.join("libvulkan.so.1").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(|name| PathBuf::from(format!("icd.d/{name}"))).collect()
    }

    #[test]
    fn hardware_needs_a_kernel_driver_and_its_vulkan_driver() {
        let mesa =
            paths(&["intel_icd.x86_64.json", "lvp_icd.x86_64.json", "radeon_icd.x86_64.json"]);
        let kernel = |name: &str| vec![name.to_string()];
        assert!(hardware(&kernel("amdgpu"), &mesa).is_some());
        assert!(hardware(&kernel("nvidia"), &mesa).is_none());
        assert!(hardware(&kernel("bochs-drm"), &mesa).is_none());
        assert!(hardware(&[], &mesa).is_none());
    }

    #[test]
    fn lavapipe_is_found_by_name_and_told_to_the_loader() {
        let mesa = paths(&["intel_icd.x86_64.json", "lvp_icd.x86_64.json"]);
        let adapter = software(lavapipe(&mesa).unwrap());
        assert!(adapter.env.contains(&("WGPU_BACKEND", "vulkan".into())));
        assert!(adapter.env[0].1.contains("lvp_icd"));
        assert!(lavapipe(&paths(&["nvidia_icd.json"])).is_none());
    }
}
