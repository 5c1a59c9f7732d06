//! What several ranks train is what one process trains.

use std::time::Instant;

use crate::launch::{Outcome, Place, TIMEOUT, TRAIN};

/// Every number of ranks on a window of so many micro-batches, against one process: byte for byte
/// where every rank has one, and twice the same.
fn windows(micro_batches: usize, dropout: &str, sizes: &[usize], twice: usize) {
    let place = Place::new();
    let more = format!(
        "--gradient-accumulation-steps {micro_batches} --lora-dropout {dropout} --save-steps 1"
    );
    let outcome = |ranks: usize, out: &str, step| {
        place.is_trained(ranks, out, &more);
        (Outcome::of(&place.path(out), 1), Outcome::of(&place.path(out), step))
    };
    let (first, whole) = outcome(0, "whole", 20);
    for &ranks in sizes {
        let clock = Instant::now();
        let (other_first, other) = outcome(ranks, &format!("of-{ranks}"), 20);
        let what = format!("{ranks} ranks, {micro_batches} micro-batches, dropout {dropout}");
        let seconds = clock.elapsed().as_secs_f64();
        if ranks == micro_batches || ranks == 1 {
            assert!(whole == other, "{what}: other bytes than one process");
            println!("mpi: {what}: the bytes of one process ({seconds:.1} s)");
        } else {
            let gradients = first.moments_differ_by(&other_first);
            assert!(gradients < 1e-6, "{what}: first gradients differ by {gradients:e}");
            whole.is_near(&other, &what);
            println!("mpi: {what}: first gradients differ by {gradients:.1e} ({seconds:.1} s)");
        }
        if ranks == twice {
            let (_, again) = outcome(ranks, "again", 20);
            assert!(again == other, "{what}: two runs differ");
        }
    }
}

#[test]
fn windows_of_four() {
    windows(4, "0", &[1, 2, 3, 4], 2);
}

#[test]
fn windows_of_twelve() {
    windows(12, "0", &[1, 2, 3, 4], 3);
}

#[test]
fn windows_of_four_with_dropout() {
    windows(4, "0.1", &[4], 4);
}

#[test]
fn what_several_ranks_cannot_do_is_refused_on_one_line() {
    let place = Place::new();
    let mut train = place.train(3, "run", "--gradient-accumulation-steps 2");
    let output = train.env(TIMEOUT, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !place.path("run").exists(), "{said}");
    for word in ["--gradient-accumulation-steps 3", "--batch-size 2", "rank 0 on"] {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    let per_device = "--per-device-train-batch-size 1 --gradient-accumulation-steps 2";
    let train = TRAIN.replace("--batch-size 2", per_device);
    let mut train = place.ranks(3, &format!("{train} --out run"));
    let output = train.env(TIMEOUT, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !place.path("run").exists(), "{said}");
    for word in ["--batch-size 1 and --gradient-accumulation-steps 6", "rank 0 on"] {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    let output = place.ranks(2, "info").env(TIMEOUT, "1").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("start this command alone"));
}
