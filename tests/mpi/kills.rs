//! Ranks that are killed at any moment: the others end, and the run goes on from its checkpoint.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::launch::{Outcome, Place, TIMEOUT};

const MORE: &str = "--gradient-accumulation-steps 4 --lora-dropout 0.1 --save-steps 3 \
                    --eval-data eval.jsonl --eval-steps 5";

/// The others notice within so long that one is gone.
const SECONDS: u64 = 60;

/// How often each is killed: `WGPU_LORA_KILLS`, else ten times.
fn kills() -> u64 {
    std::env::var("WGPU_LORA_KILLS").map_or(10, |n| n.parse().unwrap())
}

/// The ranks that an mpirun on this machine has started: the children of its process.
fn ranks_of(mpirun: u32) -> Vec<u32> {
    let is_child = |path: PathBuf| {
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
        (parent == mpirun.to_string()).then_some(pid)
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.filter_map(|entry| is_child(entry.unwrap().path())).collect()
}

/// Whether it is there and no corpse.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn kill(signal: &str, pid: u32) {
    Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
}

/// Numbers from 0 to 1 that nobody knows before.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Random(now.as_nanos() as u64)
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Starts so many ranks, kills one of them or mpirun after a while, and waits until none is left.
fn killed(place: &Place, ranks: usize, out: &str, after: f64, launcher: bool, which: f64) {
    let mut mpirun = start(place.train(ranks, out, &format!("{MORE} --resume")));
    std::thread::sleep(Duration::from_secs_f64(after));
    let all = ranks_of(mpirun.id());
    if launcher {
        mpirun.kill().unwrap();
    } else if !all.is_empty() {
        kill("-KILL", all[(which * all.len() as f64) as usize]);
    }
    let clock = Instant::now();
    while all.iter().any(|rank| lives(*rank)) {
        assert!(clock.elapsed().as_secs() < SECONDS, "{ranks} ranks, killed after {after:.2} s");
        std::thread::sleep(Duration::from_millis(20));
    }
    // It would wait as long as it was told to.
    let _ = mpirun.kill();
    mpirun.wait().unwrap();
    let (what, gone) = (if launcher { "mpirun" } else { "a rank" }, clock.elapsed().as_secs_f64());
    println!(
        "mpi: {what} of {ranks} ranks killed after {after:.2} s; all were gone {gone:.1} s later"
    );
}

/// Kills a run again and again while it goes on with ever other numbers of ranks, and ends it.
fn broken(place: &Place, out: &str, numbers: &[usize], seconds: f64) -> Outcome {
    let mut random = Random::new();
    for i in 0..2 * kills() as usize {
        let ranks = numbers[i / 2 % numbers.len()];
        let after = (0.1 + random.next()) * seconds;
        killed(place, ranks, out, after, i % 2 == 1, random.next());
    }
    place.is_trained(numbers[0], out, &format!("{MORE} --resume"));
    Outcome::of(&place.path(out), 20)
}

#[test]
fn a_killed_run_goes_on() {
    let place = Place::new();
    let clock = Instant::now();
    place.is_trained(2, "whole", MORE);
    let seconds = clock.elapsed().as_secs_f64();
    let whole = Outcome::of(&place.path("whole"), 20);
    let same = broken(&place, "same", &[2], seconds);
    assert!(whole == same, "killed and resumed on two ranks: other bytes");
    let other = broken(&place, "other", &[3, 2, 1, 4], seconds);
    whole.is_near(&other, "killed and resumed on 1 to 4 ranks");
}

#[test]
fn a_signal_to_one_rank_saves_and_ends_all() {
    let place = Place::new();
    place.is_trained(2, "whole", MORE);
    for signal in ["-TERM", "-USR1"] {
        let out = format!("ended{signal}");
        let mut command = place.train(2, &out, MORE);
        command.env(TIMEOUT, "5");
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let metrics = place.path(&format!("{out}/metrics.jsonl"));
        while std::fs::metadata(&metrics).map_or(0, |file| file.len()) < 300 {
            std::thread::sleep(Duration::from_millis(10));
        }
        kill(signal, ranks_of(child.id()).into_iter().max().unwrap());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert_eq!(said.matches("interrupted after step").count(), 1, "{said}");
        place.is_trained(2, &out, &format!("{MORE} --resume"));
        let of = |out: &str| Outcome::of(&place.path(out), 20);
        assert!(of("whole") == of(&out), "{signal}: other bytes");
    }
}

#[test]
fn a_rank_that_fails_ends_the_others() {
    let place = Place::new();
    // The second rank has no such device.
    let script =
        "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then set -- \"$@\" --device nothing; fi; exec \"$@\"";
    let mut mpirun = place.under_shell(2, script, &place.train(0, "run", MORE));
    let child = mpirun.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let clock = Instant::now();
    while ranks_of(child.id()).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    while ranks_of(child.id()).iter().any(|rank| lives(*rank)) {
        assert!(clock.elapsed().as_secs() < 2 * SECONDS);
        std::thread::sleep(Duration::from_millis(20));
    }
    kill("-KILL", child.id());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("rank 1 on ") && said.contains("none is called `nothing`"), "{said}");
}
