//! Two hosts on one machine: network namespaces joined by a veth pair, with host names and file
//! systems of their own, and TCP between them. Needs root and iproute2; says so where it cannot.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::kills::{Victim, kill, wait_until_gone};
use crate::launch::{MPIRUN, Outcome, PROGRAM, Place, TIMEOUT, TRAIN, succeeded};

const NAMES: [&str; 2] = ["wgpulora1", "wgpulora2"];

fn sh(script: &str) -> bool {
    Command::new("sh").args(["-ec", script]).status().is_ok_and(|status| status.success())
}

/// The pair, until it is dropped.
struct Hosts {
    place: Place,
}

impl Hosts {
    /// `None` where the system allows no namespaces.
    fn up() -> Option<Hosts> {
        let [a, b] = NAMES;
        down();
        let pair = format!(
            "ip netns add {a}; ip netns add {b}
             ip link add v1 netns {a} type veth peer name v2 netns {b}
             ip -n {a} addr add 10.99.0.1/24 dev v1; ip -n {a} link set v1 up; ip -n {a} link set lo up
             ip -n {b} addr add 10.99.0.2/24 dev v2; ip -n {b} link set v2 up; ip -n {b} link set lo up"
        );
        if !sh(&pair) {
            println!("mpi: two hosts: not run: `ip netns add` needs root and iproute2");
            down();
            return None;
        }
        let hosts = Hosts { place: Place::new() };
        hosts.write("hosts", "10.99.0.1 slots=1\n10.99.0.2 slots=1\n");
        // mpirun's remote shell: the command in that host's namespaces, behind $MOUNT.
        let enter = "#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\naddress=$1; shift\n\
             exec ip netns exec wgpulora${address##*.} unshare --uts --mount \
             bash -c \"hostname wgpulora${address##*.}; $MOUNT; $*\"\n";
        hosts.write("enter.sh", enter);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(hosts.place.path("enter.sh"), executable).unwrap();
        Some(hosts)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.place.path(name), text).unwrap();
    }

    /// Both directions, as tc writes rates.
    fn slow(&self, rate: &str) {
        let tbf = format!("root tbf rate {rate} burst 128k latency 50ms");
        for (i, host) in NAMES.iter().enumerate() {
            assert!(sh(&format!("ip netns exec {host} tc qdisc replace dev v{} {tbf}", i + 1)));
        }
    }

    /// A rank on each host, begun on the first; the second's file systems are as `mount` has them.
    /// The command becomes mpirun.
    fn command(&self, words: &str, mount: &str) -> Command {
        let path = |name: &str| self.place.path(name).display().to_string();
        let net = "--mca btl tcp,self --mca btl_tcp_links 2 \
                   --mca btl_tcp_if_include 10.99.0.0/24 --mca oob_tcp_if_include 10.99.0.0/24";
        let script = format!(
            "hostname {}; exec mpirun {MPIRUN} --hostfile {} --mca plm_rsh_agent {} {net} -n 2 \
             {PROGRAM} {words}",
            NAMES[0],
            path("hosts"),
            path("enter.sh")
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", NAMES[0], "unshare", "--uts", "--mount", "bash", "-c"]);
        command.arg(script).current_dir(self.place.path("")).env("MOUNT", mount);
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command
    }

    fn run(&self, words: &str, mount: &str) -> Output {
        self.command(words, mount).env(TIMEOUT, "1").output().unwrap()
    }
}

/// The processes of the program on a host.
fn ranks_on(host: &str) -> Vec<u32> {
    let output = Command::new("ip").args(["netns", "pids", host]).output().unwrap();
    let pids = String::from_utf8(output.stdout).unwrap();
    let is_rank = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "wgpu-lora"
    };
    pids.lines().filter_map(|pid| pid.parse().ok()).filter(is_rank).collect()
}

fn down() {
    for host in NAMES {
        let _ = Command::new("ip").args(["netns", "del", host]).output();
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        down();
    }
}

/// Only the first host has the rows and the run's folder; the second can write nothing there.
fn one_folder(hosts: &Hosts) {
    let more = "--gradient-accumulation-steps 2 --save-steps 5";
    let place = &hosts.place;
    place.is_trained(0, "whole", more);
    std::fs::create_dir(place.path("runs")).unwrap();
    let [runs, rows] = ["runs", "train.jsonl"].map(|name| place.path(name));
    let hidden = format!(
        "mount -t tmpfs -o ro none {}; mount --bind /dev/null {}",
        runs.display(),
        rows.display()
    );
    succeeded(hosts.run(&format!("{TRAIN} --out runs/all {more}"), &hidden));
    let of = |run: &str| Outcome::of(&place.path(run), 20);
    assert!(of("whole") == of("runs/all"), "two hosts: other bytes than one process");
    let checkpoint = place.path("runs/all/checkpoints/step-20");
    std::fs::remove_dir_all(checkpoint).unwrap();
    succeeded(hosts.run(&format!("{TRAIN} --out runs/all {more} --resume"), &hidden));
    assert!(of("whole") == of("runs/all"), "two hosts, resumed: other bytes than one process");
    println!("mpi: two hosts: the bytes of one process, and resumed");
}

/// What a host has otherwise is named, with the hosts.
fn other_files(hosts: &Hosts) {
    let place = &hosts.place;
    place.write_rows("other.jsonl", 1..30);
    std::fs::create_dir(place.path("other-model")).unwrap();
    sh(&format!("cp {0}/model/* {0}/other-model", place.path("").display()));
    let weights = place.path("other-model/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(weights, bytes).unwrap();
    let from = |a: &str, b: &str| {
        format!("mount --bind {} {}", place.path(a).display(), place.path(b).display())
    };
    for (mount, what) in [
        (from("other.jsonl", "train.jsonl"), "content of train.jsonl"),
        (from("other-model", "model"), "base weights"),
    ] {
        let words = format!("{TRAIN} --gradient-accumulation-steps 2 --out runs/other");
        let output = hosts.run(&words, &mount);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !place.path("runs/other").exists(), "{said}");
        for word in [what, "rank 0 on wgpulora1", "rank 1 on wgpulora2"] {
            assert!(said.contains(word), "no `{word}` in: {said}");
        }
    }
}

/// A rank that is killed on one host, or mpirun, takes the rank on the other with it.
fn killed(hosts: &Hosts) {
    for victim in [Victim::Rank, Victim::Mpirun] {
        let out = format!("runs/{victim:?}");
        let words = format!("{TRAIN} --out {out} --gradient-accumulation-steps 2");
        let mut command = hosts.command(&words, "true");
        command.env(TIMEOUT, "60").stdout(Stdio::null()).stderr(Stdio::null());
        let mut mpirun = command.spawn().unwrap();
        hosts.place.wait_for_steps(&out);
        let ranks = NAMES.map(ranks_on).concat();
        assert_eq!(ranks.len(), 2);
        let pid = if matches!(victim, Victim::Rank) { ranks[1] } else { mpirun.id() };
        kill("-KILL", pid);
        let seconds = wait_until_gone(&ranks, "two hosts");
        let _ = mpirun.kill();
        mpirun.wait().unwrap();
        println!("mpi: two hosts, {victim:?} killed: all gone {seconds:.1} s later");
    }
}

/// The exchange takes what its bytes take on the link by the rate of a plain send of all gradients,
/// as the formula says. Both hosts send at once, which Open MPI's TCP does over more
/// than one connection only.
fn slow_link(hosts: &Hosts) {
    hosts.slow("100mbit");
    let said = succeeded(hosts.run("bench exchange --json --megabytes 11.25 --times 5", "true"));
    let line: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let number = |name: &str| line[name].as_f64().unwrap();
    let (took, predicted) = (number("exchange_seconds"), number("predicted_seconds"));
    println!(
        "mpi: 11.25 MB over 100 Mbit/s: {took:.2} s, {:.2} of the {predicted:.2} s predicted (both ways \
         {:.2} s), MPI_Allreduce {:.2} s",
        took / predicted,
        number("both_ways_seconds"),
        number("allreduce_seconds")
    );
    // Beside other work processors wait, too.
    assert!(took < 2.0 * predicted, "{took} s, predicted {predicted} s");
}

#[test]
fn two_hosts() {
    let Some(hosts) = Hosts::up() else { return };
    one_folder(&hosts);
    other_files(&hosts);
    killed(&hosts);
    slow_link(&hosts);
}
