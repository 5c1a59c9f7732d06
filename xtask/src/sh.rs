//! Starting other programs: say what runs, stream what it prints, keep the lines that sum it up.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The root of the clone. Cargo says at run time where the package is, so a copied binary is not
/// misled.
pub fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// `cargo`, the same one that started this program, in the root of the clone.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    // What cargo set for this package must not leak into builds of others.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// The program, built for release, with these arguments.
pub fn program(args: &[&str]) -> Command {
    cargo(&[&["run", "--quiet", "--release", "--bin", "wgpu-lora", "--"], args].concat())
}

/// What cargo says about the workspace.
pub fn metadata() -> Result<serde_json::Value> {
    let text = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).context("cargo metadata")
}

/// Where builds go: `target`, or what `CARGO_TARGET_DIR` and cargo's settings say.
pub fn target_dir() -> Result<PathBuf> {
    Ok(metadata()?["target_directory"].as_str().context("cargo metadata: target_directory")?.into())
}

/// The user's cache folder: where caches go on this system.
pub fn cache_dir() -> Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(target_os = "macos") {
        var("HOME").map(|home| home.join("Library/Caches"))
    } else if cfg!(windows) {
        var("LOCALAPPDATA")
    } else {
        var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")))
    };
    Ok(base.context("no cache folder: set HOME (Windows: LOCALAPPDATA)")?.join("wgpu-lora"))
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), value.to_string_lossy()));
        }
    }
    let program = Path::new(command.get_program());
    words.push(program.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        let short: String = arg.chars().take(60).collect::<String>().replace('\n', "⏎");
        let dots = if short.chars().count() < arg.chars().count() { "…" } else { "" };
        let quote = if arg.is_empty() || arg.contains([' ', '\n', '$']) { "\"" } else { "" };
        words.push(format!("{quote}{short}{dots}{quote}"));
    }
    words.join(" ")
}

/// Whether a program can be started at all (`program args…` exits 0).
pub fn works(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Python with pip: the program, and what stands before its arguments.
pub fn python() -> Option<&'static [&'static str]> {
    let pythons: [&[&str]; 3] = [&["python3"], &["python"], &["py", "-3"]];
    pythons
        .into_iter()
        .find(|python| works(python[0], &[&python[1..], &["-m", "pip", "--version"]].concat()))
}

/// Runs it with our own stdout and stderr; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// [`run`] of something that is silent for minutes: says every 30 s for how long it has run.
pub fn run_with_clock(command: &mut Command) -> Result<()> {
    const EVERY: u64 = 30;
    eprintln!("$ {}", shown(command));
    let (clock, child) = (Instant::now(), command.spawn());
    let mut child = child.with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut told = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let seconds = clock.elapsed().as_secs();
        if seconds / EVERY > told {
            told = seconds / EVERY;
            eprintln!("  … {} min {:02} s", seconds / 60, seconds % 60);
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs it and returns its stdout; stderr goes to ours.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !out.status.success() {
        bail!("`{}` failed: {}", shown(command), out.status);
    }
    String::from_utf8(out.stdout).context("output is not UTF-8")
}

/// Installs packages of Debian and Ubuntu. **Errors** with the command to type where that takes a
/// password.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let sudo: &[&str] = match is_root {
        true => &[],
        false if works("sudo", &["-n", "true"]) => &["sudo", "-n"],
        false => &["sudo"],
    };
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    if sudo == ["sudo"] {
        bail!("type this, then run it again:\n  sudo apt-get {}", install.join(" "));
    }
    let apt = |args: &[&str]| {
        let words = [sudo, &["apt-get", "-qq"], args].concat();
        run(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // Lists may be stale or empty in a container; a mirror that is partly down is no reason to
    // stop.
    if apt(&["update"]).is_err() {
        println!("`apt-get update` failed; trying with the lists that are there");
    }
    apt(&install)
}

/// What a [`watch`]ed command came to.
pub struct Watched {
    /// Exit code 0, within the time limit.
    pub ok: bool,
    /// The lines that `keep` chose, in order.
    pub lines: Vec<String>,
}

/// Runs it, prints what it prints line by line, and keeps the lines that `keep` chooses.
///
/// With a `limit`, the command gets a process group of its own, and the whole group is killed when
/// time is up: a test that hangs inside a driver must not hold a CI machine. Without one, Ctrl-C
/// reaches it as usual.
pub fn watch(
    command: &mut Command,
    limit: Option<Duration>,
    keep: impl Fn(&str) -> bool,
) -> Result<Watched> {
    eprintln!("$ {}", shown(command));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    if limit.is_some() {
        std::os::unix::process::CommandExt::process_group(command, 0);
    }
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    let (send, lines) = mpsc::channel();
    let streams: [(bool, Option<Box<dyn Read + Send>>); 2] = [
        (false, child.stdout.take().map(|pipe| Box::new(pipe) as _)),
        (true, child.stderr.take().map(|pipe| Box::new(pipe) as _)),
    ];
    for (is_err, pipe) in streams {
        let (send, pipe) = (send.clone(), pipe.context("a pipe is missing")?);
        std::thread::spawn(move || forward(pipe, is_err, &send));
    }
    drop(send);
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut kept = Vec::new();
    let mut in_time = true;
    loop {
        let wait = deadline.map_or(Duration::from_secs(3600), |end| end - Instant::now().min(end));
        match lines.recv_timeout(wait) {
            Ok(line) if keep(&line) => kept.push(line),
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) if deadline.is_some() => {
                in_time = false;
                kill_group(&mut child);
                break;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
    if !in_time {
        kept.push(format!(
            "killed after {} s: {}",
            limit.unwrap_or_default().as_secs(),
            shown(command)
        ));
    }
    let status = child.wait().context("waiting for a command")?;
    Ok(Watched { ok: status.success() && in_time, lines: kept })
}

/// Copies a pipe to our own stream line by line, and to the channel.
fn forward(pipe: impl Read, is_err: bool, send: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        // A reader of ours that went away (a closed pipe) is no reason to stop the tests.
        let _ = if is_err {
            std::io::stderr().write_all(&bytes)
        } else {
            std::io::stdout().write_all(&bytes)
        };
        let _ = send.send(String::from_utf8_lossy(&bytes).trim_end().to_string());
        bytes.clear();
    }
}

/// Ends the child and, where it leads a process group, everything that it started.
fn kill_group(child: &mut Child) {
    #[cfg(unix)]
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
    let _ = child.kill();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn watch_keeps_lines_of_both_streams_and_the_verdict() {
        let seen =
            watch(&mut shell("echo keep 1; echo no; echo keep 2 >&2; exit 3"), None, |line| {
                line.starts_with("keep")
            })
            .unwrap();
        let mut lines = seen.lines;
        lines.sort();
        assert_eq!(lines, ["keep 1", "keep 2"]);
        assert!(!seen.ok);
    }

    #[test]
    fn watch_kills_a_command_with_its_children_when_time_is_up() {
        let start = Instant::now();
        let limit = Some(Duration::from_millis(300));
        let seen = watch(&mut shell("sleep 30 & wait"), limit, |_| true).unwrap();
        assert!(!seen.ok && start.elapsed() < Duration::from_secs(10));
        assert!(seen.lines[0].starts_with("killed after"));
    }
}
