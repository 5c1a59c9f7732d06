//! A folder with programs and libraries of a Debian suite, whatever the system's own suite is.
//!
//! apt downloads them with a state of its own, in which nothing is installed, so that it fetches
//! all they depend on, the C library included. They are unpacked, never installed, and started
//! through their own `ld.so`; files of the system stay where they are.

use super::{Unavailable, cache};
use crate::sh;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// What is taken of a suite.
pub struct Suite {
    name: &'static str,
    /// Where it lies in the cache.
    folder: &'static str,
    packages: &'static [&'static str],
    /// Not what they depend on.
    alone: bool,
    /// What is fetched, and what the folder takes.
    size: &'static str,
}

/// The newest Mesa, with its stubs of kernel drivers.
pub const SID: Suite = Suite {
    name: "sid",
    folder: "sid",
    packages: &[
        "libc6",
        "libgcc-s1",
        "libstdc++6",
        "libvulkan1",
        "mesa-vulkan-drivers",
        "mesa-drm-shim",
    ],
    alone: false,
    size: "69 MB of packages and 20 MB of lists; 340 MB on disk",
};

/// A SPIRV-Tools that stays: sid's refuses the layouts that naga writes (gfx-rs/wgpu#7696).
pub const TRIXIE: Suite = Suite {
    name: "trixie",
    folder: "trixie",
    packages: &["libc6", "libgcc-s1", "libstdc++6", "spirv-tools"],
    alone: false,
    size: "8 MB of packages and 20 MB of lists; 51 MB on disk",
};

/// SwiftShader, without the libraries that Chromium depends on: the system has what it needs.
pub const CHROMIUM: Suite = Suite {
    name: "trixie",
    folder: "chromium",
    packages: &["chromium-common"],
    alone: true,
    size: "32 MB of packages and 20 MB of lists; 110 MB on disk",
};

/// An unpacked suite.
pub struct Unpacked(PathBuf);

impl Suite {
    /// Fetches and unpacks it, once. **Errors** [`Unavailable`] on other systems and without a
    /// network.
    pub fn ensure(&self) -> Result<Unpacked> {
        let dir = cache()?.join(self.folder);
        let (root, done) = (dir.join("root"), dir.join("done"));
        if fs::read_to_string(&done).is_ok_and(|packages| packages == self.packages.join(" ")) {
            return Ok(Unpacked(root));
        }
        needs(&["apt-get", "dpkg"])?;
        println!("drivers: fetching from Debian {} to {}: {}", self.name, dir.display(), self.size);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        let apt = dir.join("apt");
        let debs = self.fetch(&apt).context(Unavailable(format!(
            "apt could not fetch {} of Debian {}",
            self.packages.join(", "),
            self.name
        )))?;
        fs::create_dir_all(&root)?;
        for deb in debs {
            sh::output(Command::new("dpkg").arg("-x").arg(deb).arg(&root))?;
        }
        wire(&root)?;
        fs::remove_dir_all(&apt).with_context(|| apt.display().to_string())?;
        fs::write(&done, self.packages.join(" "))?;
        Ok(Unpacked(root))
    }

    /// Downloads the packages and all that they depend on.
    fn fetch(&self, apt: &Path) -> Result<Vec<PathBuf>> {
        for folder in ["etc", "none", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(apt.join(folder))?;
        }
        fs::write(apt.join("status"), "")?;
        let sources = apt.join("etc/sources.list");
        let mirror = mirror(Path::new("/etc/apt"));
        let line = format!("deb [signed-by={KEYRING} arch=amd64] {mirror} {} main\n", self.name);
        fs::write(&sources, line)?;
        let archives = apt.join("cache/archives");
        let run = |args: &[&str]| {
            let mut command = Command::new("apt-get");
            command.current_dir(&archives);
            for (key, path) in [
                ("Dir::Etc::sourcelist", "etc/sources.list"),
                ("Dir::Etc::sourceparts", "none"),
                ("Dir::Etc::preferences", "none"),
                ("Dir::Etc::preferencesparts", "none"),
                ("Dir::State", "state"),
                ("Dir::State::status", "status"),
                ("Dir::Cache", "cache"),
            ] {
                command.arg("-o").arg(format!("{key}={}", apt.join(path).display()));
            }
            for option in [
                "APT::Architecture=amd64",
                "APT::Architectures=amd64",
                // As the user who runs this, since the folder is theirs.
                "APT::Sandbox::User=",
                // Names and packages, not their descriptions.
                "Acquire::Languages=none",
                "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            ] {
                command.args(["-o", option]);
            }
            sh::run(command.arg("-qq").args(args))
        };
        run(&["update"])?;
        let command: &[&str] = match self.alone {
            true => &["download"],
            false => &["install", "-y", "--no-install-recommends", "--download-only"],
        };
        run(&[command, self.packages].concat())?;
        Ok(fs::read_dir(&archives)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "deb"))
            .collect())
    }
}

impl Unpacked {
    /// A file of the suite.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// A program of this suite, by its name in `/usr/bin`.
    pub fn program(&self, name: &str) -> Command {
        self.start(&self.0.join("usr/bin").join(name), None)
    }

    /// A program of ours on one of the suite's Vulkan drivers, over a stub of a kernel driver if
    /// one is named.
    pub fn vulkan(&self, driver: &str, stub: Option<&str>, program: &Path) -> Command {
        let stub =
            stub.map(|stub| self.0.join(LIBRARIES).join(format!("lib{stub}_noop_drm_shim.so")));
        let mut command = self.start(program, stub.as_deref());
        let icd = self.0.join(format!("usr/share/vulkan/icd.d/{driver}_icd.json"));
        command.env("VK_DRIVER_FILES", &icd).env("VK_ICD_FILENAMES", icd);
        command.env("WGPU_BACKEND", "vulkan").env_remove("WGPU_LORA_DEVICE");
        super::quiet(&mut command);
        command
    }

    /// Not by LD_LIBRARY_PATH: the system's `ld.so` would be mixed with this suite's C library.
    fn start(&self, program: &Path, preload: Option<&Path>) -> Command {
        let mut command = Command::new(self.0.join("usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(self.0.join(LIBRARIES));
        if let Some(library) = preload {
            command.arg("--preload").arg(library);
        }
        command.arg(program);
        command
    }
}

/// Debian's apt on an x86_64 machine, with these programs.
fn needs(programs: &[&str]) -> Result<()> {
    let missing = programs.iter().find(|program| !sh::works(program, &["--version"]));
    let why = if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        "needs x86_64 Linux".to_string()
    } else if let Some(program) = missing {
        format!("needs Debian's apt and dpkg, and there is no {program}")
    } else if !Path::new(KEYRING).exists() {
        format!("needs {KEYRING}: apt-get install -y debian-archive-keyring")
    } else {
        return Ok(());
    };
    Err(Unavailable(why).into())
}

/// Debian's mirror as the system's apt has it, else Debian's own.
fn mirror(apt: &Path) -> String {
    let mut files = vec![apt.join("sources.list")];
    let parts = fs::read_dir(apt.join("sources.list.d")).into_iter().flatten();
    files.extend(parts.filter_map(|entry| Some(entry.ok()?.path())));
    let is_debian =
        |word: &&str| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian");
    let found = files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let is_source = |line: &&str| line.starts_with("URIs:") || line.starts_with("deb ");
        let mut words = text.lines().filter(is_source).flat_map(str::split_whitespace);
        words.find(is_debian).map(str::to_owned)
    });
    found.unwrap_or_else(|| "http://deb.debian.org/debian".into())
}

/// Drivers' manifests name their libraries for the loader to find on the system; here by their
/// paths.
fn wire(root: &Path) -> Result<()> {
    let folder = root.join("usr/share/vulkan/icd.d");
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut manifest: serde_json::Value = serde_json::from_str(&text)?;
        let library = manifest["ICD"]["library_path"].as_str().unwrap_or_default();
        let library = library.rsplit('/').next().unwrap_or_default();
        let library = root.join(LIBRARIES).join(library);
        manifest["ICD"]["library_path"] = library.display().to_string().into();
        fs::write(&path, manifest.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::mirror;
    use std::fs;

    #[test]
    fn the_mirror_is_the_systems_own() {
        let dir = std::env::temp_dir().join(format!("wgpu-lora-apt-{}", std::process::id()));
        fs::create_dir_all(dir.join("sources.list.d")).unwrap();
        assert_eq!(mirror(&dir), "http://deb.debian.org/debian");
        let text = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        fs::write(dir.join("sources.list.d/debian.sources"), text).unwrap();
        assert_eq!(mirror(&dir), "http://mirror.example/debian");
        let other = "deb http://archive.ubuntu.com/ubuntu noble main\n";
        fs::write(dir.join("sources.list"), other).unwrap();
        assert_eq!(mirror(&dir), "http://mirror.example/debian");
        fs::remove_dir_all(&dir).unwrap();
    }
}
