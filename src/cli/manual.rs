//! `completions` and `man`: what shells and `man` want of the flags.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;

use super::session::Session;

const NAME: &str = "wgpu-lora";

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// A folder for the pages of all commands; made if needed. Without it the program's own page
    /// goes to stdout.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, mut program: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut program, NAME, &mut text);
    write_out(&text)
}

pub(super) fn man(session: &Session, args: &ManArgs, program: Command) -> Result<()> {
    match &args.out {
        Some(folder) => {
            let place = || folder.display().to_string();
            std::fs::create_dir_all(folder).with_context(place)?;
            clap_mangen::generate_to(program, folder).with_context(place)?;
            session.printer.line(format!("pages in {}", folder.display()))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(program).render(&mut page)?;
            write_out(&page)
        }
    }
}

fn write_out(bytes: &[u8]) -> Result<()> {
    std::io::Write::write_all(&mut std::io::stdout(), bytes)?;
    Ok(())
}
