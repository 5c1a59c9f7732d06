//! What a program builds that uses the library alone.

use std::collections::BTreeSet;
use std::process::Command;

/// Crates of a build without default features, on Linux; the command line and the hub add about 60.
const MOST: usize = 170;

/// Of the command line, its charts and the hub.
const NOT: [&str; 10] = [
    "anyhow",
    "clap",
    "epaint_default_fonts",
    "hf-hub",
    "indicatif",
    "plotters",
    "png",
    "signal-hook",
    "tracing-subscriber",
    "ureq",
];

#[test]
fn the_library_alone_builds_few_crates_and_none_of_the_command_lines() {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(env!("CARGO_MANIFEST_DIR"));
    tree.args(["tree", "--locked", "--offline", "--no-default-features", "--prefix", "none"]);
    tree.args(["--edges", "normal,build", "--target", "x86_64-unknown-linux-gnu"]);
    let out = tree.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    let crates: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    assert!(crates.len() > 50, "{errors}");
    assert!(crates.len() <= MOST, "{} crates: {crates:#?}", crates.len());
    let name = |line: &&str| NOT.contains(&line.split(' ').next().unwrap());
    let unwanted: Vec<&&str> = crates.iter().filter(|line| name(line)).collect();
    assert!(unwanted.is_empty(), "{unwanted:?}");
}
