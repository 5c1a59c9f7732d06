//! `plot RUNDIR`: a run's losses, learning rate and gradient norm, and the chart that
//! `train --plot` keeps up to date.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::session::Session;
use crate::report::braille;
use crate::report::chart::{Line, Panel, Placed, png, svg};
use crate::report::series::{Series, smooth};
use crate::train::durable;

/// Draws what `metrics.jsonl` has so far; the run may be going on.
#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// The folder of a run.
    #[arg(value_name = "RUNDIR")]
    run: PathBuf,
    /// A picture (.png, .svg) or a page with the numbers under the pointer (.html); in the terminal
    /// otherwise.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const SIZE: (u32, u32) = (1000, 840);

pub(super) fn run(session: &Session, args: &PlotArgs) -> Result<()> {
    let printer = &session.printer;
    let series = Series::read(&args.run.join("metrics.jsonl"))?;
    if series.torn > 0 {
        printer.warn(format!("metrics.jsonl: {} torn line(s) left out", series.torn));
    }
    // Of `.`, too.
    let whole = std::fs::canonicalize(&args.run).unwrap_or_else(|_| args.run.clone());
    let name = whole.file_name().unwrap_or(args.run.as_os_str()).to_string_lossy();
    let Some(out) = &args.out else {
        return printer.line(format!("{:>9}{name}\n{}", "", terminal(&series, 78, 18)));
    };
    let panels = panels(&series, &name);
    let bytes = match out.extension().and_then(|e| e.to_str()) {
        Some("png") => png(&panels, SIZE)?,
        Some("svg") => svg(&panels, SIZE)?.0.into_bytes(),
        Some("html") => page(&panels, &name, &args.run)?.into_bytes(),
        _ => bail!("{}: the name must end in .png, .svg or .html", out.display()),
    };
    durable::write_file(out, &bytes)?;
    printer.object(&serde_json::json!({ "out": out }))?;
    printer.line(format!("wrote {}", out.display()))
}

/// The loss as text, smoothed where there are many steps, with the evaluations as marks.
pub(super) fn terminal(series: &Series, width: usize, height: usize) -> String {
    let span = span(&series.loss);
    let drawn = braille::chart(&smooth(&series.loss, span), &series.eval_loss, width, height);
    if drawn.is_empty() {
        return drawn;
    }
    let mean =
        if span > 1.0 { format!(", mean over about {span:.0} steps") } else { String::new() };
    let eval = if series.eval_loss.is_empty() { "" } else { "   ● evaluation loss" };
    format!("{:>9}loss{mean}{eval}\n{drawn}", "")
}

/// How many points a smoothed one stands for: none in short runs, a twentieth of long ones.
fn span(points: &[(f64, f64)]) -> f64 {
    (points.len() as f64 / 20.0).floor().max(1.0)
}

fn panels(series: &Series, name: &str) -> Vec<Panel> {
    use plotters::style::RGBColor;
    const PALE: RGBColor = RGBColor(178, 205, 235);
    const BLUE: RGBColor = RGBColor(31, 98, 168);
    const RED: RGBColor = RGBColor(200, 60, 40);
    const GREY: RGBColor = RGBColor(90, 90, 90);
    let line = |name: &str, points: &[(f64, f64)], colour, width| Line {
        name: name.into(),
        points: points.to_vec(),
        colour,
        width,
    };
    let span = span(&series.loss);
    let mut losses = vec![line("loss", &series.loss, if span > 1.0 { PALE } else { BLUE }, 1)];
    if span > 1.0 {
        let name = format!("loss, mean over about {span:.0} steps");
        losses.push(line(&name, &smooth(&series.loss, span), BLUE, 2));
    }
    losses.push(line("", &series.eval_loss, RED, 1));
    losses.push(line("evaluation loss", &series.eval_loss, RED, 0));
    let panel = |title: String, lines| Panel { title, x_label: "step".into(), lines };
    let mut panels = vec![panel(format!("{name}: loss"), losses)];
    for (title, points) in
        [("learning rate", &series.learning_rate), ("gradient norm", &series.grad_norm)]
    {
        if points.iter().any(|p| p.1.is_finite()) {
            panels.push(panel(title.into(), vec![line("", points, GREY, 1)]));
        }
    }
    panels
}

/// One file: the picture, the numbers under the pointer, and the run's settings.
fn page(panels: &[Panel], name: &str, run: &Path) -> Result<String> {
    let (picture, placed) = svg(panels, SIZE)?;
    let mut spots = String::new();
    for Placed { name, point: (x, y), pixel: (px, py) } in &placed {
        let label = if name.is_empty() { String::new() } else { format!("{} ", escape(name)) };
        spots.push_str(&format!(
            "<circle cx=\"{px}\" cy=\"{py}\" r=\"5\"><title>step {x}: {label}{y:.6}</title></circle>\n"
        ));
    }
    let picture =
        picture.replace("</svg>", &format!("<g fill=\"transparent\">\n{spots}</g>\n</svg>"));
    let settings = std::fs::read_to_string(run.join("run.toml")).unwrap_or_default();
    let (name, settings) = (escape(name), escape(&settings));
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{name}</title>\n<style>body{{font-family:sans-serif;max-width:{w}px;margin:2em auto;padding:0 1em}}\
         svg{{width:100%;height:auto}}circle:hover{{fill:#c83c28}}@media(prefers-color-scheme:dark){{\
         body{{background:#16181c;color:#e4e4e4}}svg{{filter:invert(.9) hue-rotate(180deg)}}}}</style>\n<h1>{name}</h1>\n\
         <p>Hold the pointer over a line for its numbers.</p>\n{picture}\n\
         <details><summary>Settings</summary><pre>{settings}</pre></details>\n</html>\n",
        w = SIZE.0
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
