//! Ranks that are killed at any moment: the others end, and the run goes on from its checkpoint.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::launch::{Outcome, Place, TIMEOUT};

const MORE: &str = "--gradient-accumulation-steps 4 --lora-dropout 0.1 --save-steps 3 \
                    --eval-data eval.jsonl --eval-steps 5";

/// The others notice within so long that one is gone.
const SECONDS: u64 = 30;

/// How often each is killed: `WGPU_LORA_KILLS`, else ten times.
fn kills() -> usize {
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

pub fn kill(signal: &str, pid: u32) {
    Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
}

/// How many seconds that takes. Panics where it takes too long.
pub fn wait_until_gone(ranks: &[u32], what: &str) -> f64 {
    let clock = Instant::now();
    while ranks.iter().any(|rank| lives(*rank)) {
        assert!(clock.elapsed().as_secs() < SECONDS, "{what}: ranks live on");
        std::thread::sleep(Duration::from_millis(20));
    }
    clock.elapsed().as_secs_f64()
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

/// What is killed.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    Rank,
    Mpirun,
}

/// Starts two ranks, kills one of them or mpirun `after` so many seconds, and waits until none is
/// left: how many seconds that took. `None` if it had not begun or had come to its end before.
fn killed(place: &Place, out: &str, victim: Victim, after: f64, which: f64) -> Option<f64> {
    let mut mpirun = start(place.train(2, out, MORE));
    std::thread::sleep(Duration::from_secs_f64(after));
    let all = ranks_of(mpirun.id());
    if mpirun.try_wait().unwrap().is_some() {
        return None;
    }
    let pid = match victim {
        Victim::Rank => all.get((which * all.len() as f64) as usize).copied(),
        Victim::Mpirun => Some(mpirun.id()),
    };
    kill("-KILL", pid.unwrap_or(mpirun.id()));
    let seconds = wait_until_gone(&all, &format!("{victim:?} killed after {after:.2} s"));
    // It would wait as long as it was told to.
    let _ = mpirun.kill();
    mpirun.wait().unwrap();
    pid.map(|_| seconds)
}

/// Kills at random moments, each in a run of its own, which then goes on with as many ranks, and a
/// copy of it with another number.
#[test]
fn a_killed_run_goes_on() {
    let place = Place::new();
    let clock = Instant::now();
    place.is_trained(2, "whole", MORE);
    let seconds = clock.elapsed().as_secs_f64();
    let whole = Outcome::of(&place.path("whole"), 20);
    let mut random = Random::new();
    for victim in [Victim::Rank, Victim::Mpirun] {
        let mut gone = Vec::new();
        while gone.len() < kills() {
            let (same, other) = (format!("{victim:?}-{}", gone.len()), "other");
            for run in [&same, other] {
                let _ = std::fs::remove_dir_all(place.path(run));
            }
            let after = random.next() * seconds;
            let Some(until) = killed(&place, &same, victim, after, random.next()) else { continue };
            if place.path(&same).exists() {
                let (from, to) = (place.path(&same), place.path(other));
                assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
            }
            let ranks = [1, 3, 4][gone.len() % 3];
            let what = format!("{victim:?} killed after {after:.2} of {seconds:.2} s");
            println!("{what}: all gone {until:.1} s later");
            place.goes_on(2, &same, MORE);
            assert!(whole == Outcome::of(&place.path(&same), 20), "{what}, resumed: other bytes");
            place.goes_on(ranks, other, MORE);
            let outcome = Outcome::of(&place.path(other), 20);
            whole.is_near(&outcome, &format!("{what}, resumed on {ranks} ranks"));
            gone.push(until);
        }
        println!(
            "mpi: {victim:?} killed {} times: all gone within {:.1} s; resumed on two ranks: the \
             bytes of the unbroken run; on 1, 3 or 4: within bounds",
            gone.len(),
            gone.iter().copied().fold(0.0, f64::max)
        );
    }
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
        place.wait_for_steps(&out);
        kill(signal, ranks_of(child.id()).into_iter().max().unwrap());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert_eq!(said.matches("interrupted after step").count(), 1, "{said}");
        place.goes_on(2, &out, MORE);
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
    let ranks = loop {
        let ranks = ranks_of(child.id());
        if ranks.len() == 2 {
            break ranks;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    wait_until_gone(&ranks, "a rank failed");
    kill("-KILL", child.id());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("rank 1 on ") && said.contains("none is called `nothing`"), "{said}");
}
