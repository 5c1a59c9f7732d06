//! `driver-check DIR GPU SPILLS OUT`: a pipeline of every body that a GPU can get, on the Vulkan
//! driver that the loader finds.
//!
//! DIR is what `wgpu-lora shaders --out DIR` wrote, GPU the name that the list SPILLS knows this
//! driver by. OUT gets a line of JSON per text: its label, then what the driver said of it; where
//! the driver takes the process down, the last line is the text that it was at. Prints a line per
//! failure and a summary; exit code 1 if a body was refused, lost the device, spills more than the
//! list says, or is listed and not there.

mod bodies;
mod driver;
mod spills;
mod statistics;

use anyhow::{Context, Result, bail, ensure};
use driver::{Driver, Outcome};
use spills::Cost;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, gpu, list, out] = &words[..] else {
        eprintln!("usage: driver-check DIR GPU SPILLS OUT");
        return ExitCode::from(2);
    };
    match run(Path::new(dir), gpu, Path::new(list), Path::new(out)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("driver-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What came out so far.
#[derive(Default)]
struct Tally {
    made: usize,
    lacking: usize,
    refused: usize,
    lost: usize,
    costs: BTreeMap<String, Cost>,
}

fn run(dir: &Path, gpu: &str, list: &Path, out: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(list).with_context(|| list.display().to_string())?;
    let allowed = spills::allowed(&text, gpu).with_context(|| list.display().to_string())?;
    let bodies = bodies::for_gpus(dir)?;
    ensure!(!bodies.is_empty(), "{}: no text for a GPU", dir.display());
    let mut log = File::create(out).with_context(|| out.display().to_string())?;
    let start = Instant::now();
    let mut driver = Driver::open()?;
    println!("{gpu}: {}", driver.about());
    let mut tally = Tally::default();
    for body in &bodies {
        let label = body.label();
        write!(log, "{{\"text\":\"{label}\"")?;
        let began = Instant::now();
        let outcome = driver.make(body);
        let said = match &outcome {
            Outcome::Made(statistics) => serde_json::json!(statistics),
            Outcome::Lacks => "lacks a feature".into(),
            Outcome::Refused(why) => format!("refused: {why}").into(),
            Outcome::Lost(why) => format!("device lost: {why}").into(),
        };
        writeln!(log, ",\"ms\":{},\"said\":{said}}}", began.elapsed().as_millis())?;
        match outcome {
            Outcome::Made(statistics) => {
                tally.made += 1;
                let Some(cost) = Cost::new(&statistics) else {
                    bail!("{label}: the driver's statistics have other names: {said}");
                };
                let name = format!("{}[{}]", body.kernel, body.name());
                let worst = tally.costs.entry(name).or_insert(cost);
                *worst = worst.worse(cost);
            }
            Outcome::Lacks => tally.lacking += 1,
            Outcome::Refused(why) => {
                tally.refused += 1;
                println!("FAILED {label}: {why}");
            }
            Outcome::Lost(why) => {
                tally.lost += 1;
                println!("FAILED {label}: the device was lost: {why}");
                driver = Driver::open()?;
            }
        }
    }
    let surprises = judge(gpu, &tally.costs, &allowed);
    let Tally { made, lacking, refused, lost, costs } = &tally;
    let spilling = costs.values().filter(|cost| cost.spills > 0).count();
    println!(
        "pipelines: {gpu}: {made} made, {refused} refused, {lost} lost the device, {lacking} lack a feature; \
         {spilling} of {} bodies spill, {surprises} other than listed; {:.0} s",
        costs.len(),
        start.elapsed().as_secs_f32()
    );
    Ok(*made > 0 && refused + lost + surprises == 0)
}

/// Names the bodies that spill, and returns how many do so otherwise than the list says.
fn judge(gpu: &str, costs: &BTreeMap<String, Cost>, allowed: &BTreeMap<String, u64>) -> usize {
    let mut surprises = 0;
    for (body, cost) in costs {
        let limit = allowed.get(body).copied().unwrap_or(0);
        let Cost { registers, spills, occupancy } = cost;
        let about =
            format!("{gpu}: {body}: {spills} spills, {registers} registers, occupancy {occupancy}");
        if *spills > limit {
            surprises += 1;
            println!("FAILED {about}; the list allows {limit}");
        } else if *spills > 0 {
            println!("{about}; listed");
        } else if limit > 0 {
            println!("{about}; its line can leave the list");
        }
    }
    for body in allowed.keys().filter(|body| !costs.contains_key(*body)) {
        surprises += 1;
        println!("FAILED {gpu}: {body}: listed, and no such body was made");
    }
    surprises
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_spills_than_listed_fail_and_so_do_lines_without_a_body() {
        let cost = |spills| Cost { registers: 255, spills, occupancy: 384 };
        let costs = |spills| BTreeMap::from([("a[workgroup]".to_string(), cost(spills))]);
        let allowed = |body: &str| BTreeMap::from([(body.to_string(), 10)]);
        assert_eq!(judge("m1", &costs(10), &allowed("a[workgroup]")), 0);
        assert_eq!(judge("m1", &costs(11), &allowed("a[workgroup]")), 1);
        assert_eq!(judge("m1", &costs(0), &allowed("a[workgroup]")), 0);
        assert_eq!(judge("m1", &costs(0), &allowed("b[workgroup]")), 1);
        assert_eq!(judge("m1", &costs(0), &BTreeMap::new()), 0);
    }
}
