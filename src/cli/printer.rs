//! Where words go: results to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use super::args::Global;
use super::flags::with_flags;

/// The two streams, as the options want them.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    json: bool,
    quiet: bool,
    verbose: u8,
    /// Of several ranks only the first says anything but errors.
    silent: bool,
}

/// Nobody reads stdout any more: `wgpu-lora … | head`.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    // Only the printer's own errors are bare; those of files come as the library's.
    of(error.root_cause()) && error.downcast_ref::<io::Error>().is_some()
}

impl Printer {
    pub(super) fn new(global: &Global, silent: bool) -> Printer {
        let quiet = global.quiet || silent;
        Printer { json: global.json, quiet, verbose: global.verbose, silent }
    }

    /// Whether more words are wanted.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Whether results are JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A part of a result for people, without a line end.
    pub(super) fn text(&self, text: &str) -> Result<()> {
        if !self.json && !self.silent {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }

    /// A line of a result for people.
    pub(super) fn line(&self, text: impl std::fmt::Display) -> Result<()> {
        self.text(&format!("{text}\n"))
    }

    /// A line of a result for programs.
    pub(super) fn object(&self, value: &impl Serialize) -> Result<()> {
        if self.json && !self.silent {
            let mut line = serde_json::to_vec(value)?;
            line.push(b'\n');
            let mut out = io::stdout().lock();
            out.write_all(&line)?;
            out.flush()?;
        }
        Ok(())
    }

    /// A word on the side.
    pub(super) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", with_flags(&text.to_string()));
        }
    }

    /// Something that a person should know even with `-q`.
    pub(super) fn warn(&self, text: impl std::fmt::Display) {
        if !self.silent {
            let _ = writeln!(io::stderr(), "warning: {}", with_flags(&text.to_string()));
        }
    }

    /// Whether a bar would be seen, and not torn by other lines.
    pub(super) fn shows_bars(&self) -> bool {
        !self.quiet && self.verbose == 0 && io::stderr().is_terminal()
    }

    /// A bar over `length` units; hidden where it would not be seen.
    pub(super) fn bar(&self, length: u64, template: &str) -> ProgressBar {
        let target = match self.shows_bars() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("eta", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Nothing is known before the first unit: kernels compile.
                let _ = match state.eta() {
                    eta if eta.is_zero() && state.len().is_none_or(|all| state.pos() < all) => {
                        out.write_str("…")
                    }
                    eta => write!(out, "{:#}", HumanDuration(eta)),
                };
            })
            .progress_chars("━╸ ");
        ProgressBar::with_draw_target(Some(length), target).with_style(style)
    }

    /// A bar of bytes done and in all; it goes when this is dropped.
    pub(super) fn progress(&self, what: &str) -> impl FnMut(u64, u64) + use<> {
        let bar = self.bar(0, "{msg} {bytes:>10}/{total_bytes:10} {wide_bar} {eta:>4}");
        bar.set_message(what.to_owned());
        move |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        }
    }
}
