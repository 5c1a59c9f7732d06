//! Several ranks in one process, each a thread with a device of its own: what training on ranks
//! computes, without MPI.

use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use wgpu_lora::data::Batch;
use wgpu_lora::model::{Keep, Quant};
use wgpu_lora::train::config::{SaveSteps, TargetModules, TrainConfig};
use wgpu_lora::train::event::Event;
use wgpu_lora::train::ranks::{Alone, Ranks, share, sum};
use wgpu_lora::train::run::{Run, Start};
use wgpu_lora::train::trainer::{LossNormalisation, TrainerOptions};
use wgpu_lora::{Error, Result};

use crate::events::rows;
use crate::setup::*;

/// A rank that is a thread: a channel to and from every rank.
#[derive(Debug)]
struct Thread {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Mutex<Receiver<Vec<u8>>>>,
}

fn threads(size: usize) -> Vec<Arc<dyn Ranks>> {
    let mut to: Vec<Vec<Sender<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
    let mut from: Vec<Vec<Mutex<Receiver<Vec<u8>>>>> = (0..size).map(|_| Vec::new()).collect();
    for sender in &mut to {
        for receiver in &mut from {
            let (send, receive) = channel();
            sender.push(send);
            receiver.push(Mutex::new(receive));
        }
    }
    let ranks = to.into_iter().zip(from).enumerate();
    ranks.map(|(rank, (to, from))| Arc::new(Thread { rank, to, from }) as Arc<dyn Ranks>).collect()
}

impl Thread {
    fn exchange<'a>(&self, sent: impl Fn(usize) -> &'a [u8]) -> Result<Vec<Vec<u8>>> {
        let gone = || Error::invalid("ranks", "a rank has ended");
        for (rank, to) in self.to.iter().enumerate() {
            to.send(sent(rank).to_vec()).map_err(|_| gone())?;
        }
        self.from.iter().map(|from| from.lock().unwrap().recv().map_err(|_| gone())).collect()
    }
}

fn bytes(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.to.len()
    }
    fn host(&self) -> &str {
        "here"
    }
    fn all_to_all(
        &self,
        values: &[f32],
        parts: &[Range<usize>],
        given: &mut Vec<f32>,
    ) -> Result<()> {
        *given = floats(&self.exchange(|rank| bytes(&values[parts[rank].clone()]))?.concat());
        Ok(())
    }
    fn all_gather_parts(
        &self,
        own: &[f32],
        values: &mut [f32],
        parts: &[Range<usize>],
    ) -> Result<()> {
        for (part, given) in parts.iter().zip(self.exchange(|_| bytes(own))?) {
            values[part.clone()].copy_from_slice(&floats(&given));
        }
        Ok(())
    }
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.exchange(|_| own)
    }
}

/// What every rank makes, in a thread of its own.
fn on_ranks<T: Send>(size: usize, act: impl Fn(Arc<dyn Ranks>) -> T + Sync) -> Vec<T> {
    let act = &act;
    std::thread::scope(|scope| {
        let all = threads(size).into_iter().map(|ranks| scope.spawn(move || act(ranks)));
        Vec::from_iter(all).into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn shares_are_in_order_and_sums_in_order_of_rank() {
    for (n, size) in [(12, 3), (7, 3), (2, 4), (0, 2), (5, 1)] {
        let shares = Vec::from_iter((0..size).map(|rank| share(n, rank, size)));
        assert_eq!(Vec::from_iter(shares.iter().cloned().flatten()), Vec::from_iter(0..n));
        assert!(shares.windows(2).all(|pair| pair[0].len() - pair[1].len() <= 1));
    }
    // 1e8 swallows a 3 that is added to it, not a 6.
    let of = |rank: usize| vec![[1e8, 3.0, 3.0, -1e8][rank]; 5];
    let expected = of(0).iter().map(|x| ((x + 3.0) + 3.0) - 1e8).collect::<Vec<f32>>();
    let all = on_ranks(4, |ranks| {
        let mut values = of(ranks.rank());
        sum(&*ranks, &mut values, &mut Vec::new()).unwrap();
        values
    });
    assert!(all.iter().all(|values| *values == expected), "{all:?}");
}

/// Two windows: one of four micro-batches of which one has no target, one of a lone micro-batch,
/// as an epoch ends with.
fn windows() -> [Vec<Batch>; 3] {
    let four = vec![batch(&[24, 9], 3), batch(&[5, 12, 7], 1), batch(&[3], 3), batch(&[17], 2)];
    [four.clone(), vec![batch(&[11, 4], 1)], four]
}

/// Bits of loss and parameters after these windows.
fn trained(ranks: Arc<dyn Ranks>, options: TrainerOptions) -> (Vec<u64>, Vec<u32>) {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::Nf4);
    let mut config = adapter(6, &[]);
    config.dropout = 0.1;
    block_on(model.add_fresh_adapter("a", &config, 1)).unwrap();
    shake(&mut model);
    let mut trainer = trainer(model, options).with_ranks(ranks);
    let step = |window: &Vec<Batch>| {
        let report = block_on(trainer.step(window)).unwrap();
        assert_eq!(report.tokens, window.iter().map(|b| b.ids.len()).sum::<usize>());
        report.loss.to_bits()
    };
    let losses = windows().iter().map(step).collect();
    block_on(trainer.compare_ranks()).unwrap();
    (losses, bits(&trainer))
}

#[test]
fn a_micro_batch_a_rank_gives_the_bits_of_one_process() {
    for normalisation in [LossNormalisation::Tokens, LossNormalisation::MeanOfMeans] {
        let options = TrainerOptions { normalisation, ..options(Keep::Recomputed) };
        let (losses, parameters) = trained(Arc::new(Alone), options);
        for (size, exact) in [(4, true), (2, false), (5, true)] {
            for (others, bits) in on_ranks(size, |ranks| trained(ranks, options)) {
                let near = |(a, b): (&u64, &u64)| {
                    (f64::from_bits(*a) / f64::from_bits(*b) - 1.0).abs() < 1e-6
                };
                assert!(losses.iter().zip(&others).all(near), "{size} ranks");
                if exact {
                    assert_eq!(parameters, bits, "{size} ranks");
                }
            }
        }
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        model: "tiny_a".into(),
        rank: 4,
        lora_dropout: 0.1,
        target_modules: TargetModules::AllLinear,
        batch_size: 1,
        gradient_accumulation_steps: 2,
        num_train_epochs: 2.0,
        save_steps: SaveSteps::Steps(2),
        ..TrainConfig::default()
    }
}

/// Goes on in `out` until the run is over, or after so many steps; what it said.
fn run(ranks: Arc<dyn Ranks>, out: &Path, start: Start, steps: u64) -> Result<Vec<String>> {
    let (rows, held_out) = (rows("train.jsonl", 0..7), rows("eval.jsonl", 40..43));
    let model = load(&gpu(), "tiny_a", Quant::Nf4);
    let run = Run::on_ranks(ranks, model, rows, Some(held_out), config(), out, start);
    let mut run = block_on(run)?;
    let mut said = Vec::new();
    while run.step() < steps {
        match block_on(run.next())? {
            Some(Event::Step { step, .. }) => said.push(format!("{} {}", step.step, step.loss)),
            Some(Event::Eval(line)) => said.push(format!("{line:?}")),
            Some(_) => {}
            None => break,
        }
    }
    Ok(said)
}

#[test]
fn a_run_on_two_ranks_is_the_run_of_one_and_goes_on_with_one() {
    let temp = tempfile::tempdir().unwrap();
    let (one, two) = (temp.path().join("one"), temp.path().join("two"));
    let whole = run(Arc::new(Alone), &one, Start::Fresh, 100).unwrap();
    let nowhere = temp.path().join("nowhere/two");
    let both = |start, steps| {
        let of = |ranks: Arc<dyn Ranks>| {
            // Only rank 0 has the folder.
            let out = if ranks.rank() == 0 { &two } else { &nowhere };
            run(ranks, out, start, steps).unwrap()
        };
        let said = on_ranks(2, of);
        assert_eq!(said[0], said[1]);
        said.into_iter().next().unwrap()
    };
    let mut said = both(Start::Fresh, 3);
    assert!(!nowhere.exists());
    // Stopped after step 3; goes on after step 2, on both ranks, then on one.
    said.truncate(said.len() - 1);
    said.extend(both(Start::Resume, 5));
    said.truncate(said.len() - 1);
    said.extend(run(Arc::new(Alone), &two, Start::Resume, 100).unwrap());
    assert_eq!(said, whole);
    let read = |out: &Path| std::fs::read(out.join("adapter/adapter_model.safetensors")).unwrap();
    assert_eq!(read(&one), read(&two));
}

#[test]
fn ranks_that_differ_are_named_and_a_window_too_small_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("run");
    for error in on_ranks(3, |ranks| run(ranks, &out, Start::Fresh, 1).unwrap_err().to_string()) {
        assert!(error.contains("gradient_accumulation_steps = 3"), "{error}");
        assert!(error.contains("batch_size = 1"), "{error}");
    }
    let other = |ranks: Arc<dyn Ranks>| {
        let (gpu, numbers) = (gpu(), 0..7 + ranks.rank() as u32);
        let model = load(&gpu, "tiny_a", Quant::Nf4);
        let rows = rows("train.jsonl", numbers);
        let made = Run::on_ranks(ranks, model, rows, None, config(), &out, Start::Fresh);
        block_on(made).err().unwrap().to_string()
    };
    for error in on_ranks(2, other) {
        for word in ["training rows", "rank 0 on here", "rank 1 on here"] {
            assert!(error.contains(word), "{error}");
        }
    }
    assert!(!out.exists());
}
