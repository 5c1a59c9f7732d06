//! `doctor`: whether the numbers are right on this adapter, and how far each kernel is from its
//! ceilings. The stages in order here, each in a process of its own ([`child`]), so that a hang, a
//! crash or a lost device in one is named and does not stop the rest; what they do in [`stages`]
//! and [`speed`], what they tell in [`line`], what becomes of it in [`report`].

mod args;
mod child;
mod line;
mod report;
mod speed;
mod stages;
mod stand;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

pub(super) use self::args::DoctorArgs;
use self::args::Stage;
use self::line::Line;
use self::report::Report;
use self::stand::Stand;
use super::session::Session;

pub(super) async fn run(session: &Session, args: &DoctorArgs) -> Result<()> {
    if let Some(stage) = args.stage {
        return stages::run(&Stand { session, args, stage }).await;
    }
    let printer = &session.printer;
    let clock = Instant::now();
    let mut report = Report::new(args.quick);
    for stage in Stage::value_variants().iter().copied() {
        printer.note(format!("{}: begins", stage.name()));
        let flags = [session.flags(), args.of_stage(stage)].concat();
        let started = Instant::now();
        let end = child::run(&flags, args.limit(stage), &mut |line| {
            if let Line::Doing(what) = &line {
                printer.note(format!("  {what}"));
            }
            report.take(line);
        });
        let told = report.end_stage(stage.name(), end, started.elapsed());
        printer.note(format!("{}: {told}", stage.name()));
    }
    report.finish(clock.elapsed());
    report.write(&args.out)?;
    printer.object(report.document())?;
    printer.line(report.summary())?;
    printer.line(format!("{}: paste it into an issue", args.out.join("doctor.md").display()))?;
    if !report.ok() {
        bail!("{}", report.verdict());
    }
    Ok(())
}
