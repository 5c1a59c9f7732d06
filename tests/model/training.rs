//! Equalities that training promises, bit by bit, and its edges.

use crate::setup::*;
use wgpu_lora::Error;
use wgpu_lora::data::Batch;
use wgpu_lora::gpu::{Gpu, Policy};
use wgpu_lora::model::{Keep, Model, Pass, Precision, Quant};
use wgpu_lora::train::config::Optim;
use wgpu_lora::train::optimizer::Values;
use wgpu_lora::train::schedule::{Schedule, SchedulerType};
use wgpu_lora::train::trainer::{LossNormalisation, Trainer, TrainerOptions};

/// `tiny_a` in NF4 with an adapter whose B is not zero.
fn adapted(gpu: &Gpu, rank: usize, dropout: f64, dora: bool) -> Model {
    let mut model = load(gpu, "tiny_a", Quant::Nf4);
    let mut config = adapter(rank, &[]);
    (config.dropout, config.use_dora) = (dropout, dora);
    block_on(model.add_fresh_adapter("a", &config, 1)).unwrap();
    shake(&mut model);
    model
}

fn three_steps(trainer: &mut Trainer) -> Vec<u64> {
    (0..3)
        .map(|_| {
            let window = [batch(&[24, 9, 17], 3), batch(&[5, 12], 1)];
            let report = block_on(trainer.step(&window)).unwrap();
            assert!(report.loss.is_finite() && report.grad_norm > 0.0);
            report.loss.to_bits()
        })
        .collect()
}

fn run(gpu: &Gpu, dropout: f64, dora: bool, options: TrainerOptions) -> (Vec<u64>, Vec<u32>) {
    let mut trainer = trainer(adapted(gpu, 6, dropout, dora), options);
    let losses = three_steps(&mut trainer);
    (losses, bits(&trainer))
}

#[test]
fn two_runs_are_equal_bit_by_bit() {
    for policy in [Policy::Auto, Policy::Baseline] {
        let gpu = open(policy, false);
        assert_eq!(
            run(&gpu, 0.0, true, options(Keep::Recomputed)),
            run(&gpu, 0.0, true, options(Keep::Recomputed))
        );
    }
}

#[test]
fn checkpointing_changes_no_bit() {
    let gpu = gpu();
    for (dropout, dora) in [(0.0, false), (0.0, true), (0.3, false), (0.3, true)] {
        let with = run(&gpu, dropout, dora, options(Keep::Recomputed));
        let without = run(&gpu, dropout, dora, options(Keep::Full));
        assert_eq!(with, without, "dropout {dropout}, dora {dora}");
    }
}

/// Activations at 16 bits: the forward pass is that of f32, gradients are within their rounding,
/// and 200 steps stay within 0.5 % of the same losses.
#[test]
fn packed_activations_follow_f32() {
    let gpu = gpu();
    for (dropout, dora, rounds) in [(0.0, false, 67), (0.3, true, 4)] {
        let losses = |keep| {
            let schedule = Schedule::new(SchedulerType::Constant, 1e-3, 0, 210).unwrap();
            let largest = Pass { batch: 3, queries: 24, targets: 72 };
            let model = adapted(&gpu, 6, dropout, dora);
            let mut trainer = Trainer::new(model, schedule, options(keep), largest).unwrap();
            let all = (0..rounds).flat_map(|_| three_steps(&mut trainer)).map(f64::from_bits);
            all.collect::<Vec<f64>>()
        };
        let (full, packed) = (losses(Keep::Full), losses(Keep::Half));
        assert_eq!(full[0], packed[0], "the first loss comes before any backward pass");
        assert_ne!(full, packed, "the packed activations were not used");
        if let Some(last) = full.get(200) {
            assert!(*last < 0.8 * full[0], "200 steps taught nothing: {} to {last}", full[0]);
        }
        for (step, (f, p)) in full.iter().zip(&packed).enumerate() {
            assert!((f - p).abs() <= 5e-3 * f, "step {step}: {f} in f32, {p} packed");
        }
    }
}

/// up × 2¹⁷ and down ÷ 2¹⁷ are the same function, but activations leave f16's range, and the
/// gradients are others: counted.
#[test]
fn activations_beyond_f16_are_counted() {
    let gpu = gpu();
    let step = |factor: f32, keep| {
        let change = |name: &str, values: &mut [f32]| {
            let power = match name {
                "model.layers.0.mlp.up_proj.weight" | "model.layers.1.mlp.up_proj.weight" => factor,
                "model.layers.0.mlp.down_proj.weight" | "model.layers.1.mlp.down_proj.weight" => {
                    1.0 / factor
                }
                _ => 1.0,
            };
            values.iter_mut().for_each(|v| *v *= power);
        };
        let mut model = load_changed(&gpu, "tiny_a", change);
        block_on(model.add_fresh_adapter("a", &adapter(4, &["q_proj"]), 3)).unwrap();
        shake(&mut model);
        block_on(trainer(model, options(keep)).step(&[batch(&[24, 17, 9], 3)])).unwrap()
    };
    let (full, packed) = (step(131_072.0, Keep::Full), step(131_072.0, Keep::Half));
    assert_eq!(full.clamped, 0);
    assert!(packed.clamped > 100, "{packed:?}");
    assert_eq!(full.loss, packed.loss);
    assert!((full.grad_norm / packed.grad_norm - 1.0).abs() > 1e-3, "{full:?}, {packed:?}");
    assert_eq!(step(1.0, Keep::Half).clamped, 0);
}

/// Products at 16 bits, where the adapter has them: losses of 200 steps stay within 0.5 % of those
/// of f32. The model is f32 again when its training ends.
#[test]
fn products_at_16_bits_follow_f32() {
    let gpu = open(Policy::Prefer("workgroup_f16".into()), false);
    for (dropout, dora, rounds) in [(0.0, false, 67), (0.3, true, 4)] {
        let losses = |precision| {
            let schedule = Schedule::new(SchedulerType::Constant, 1e-3, 0, 210).unwrap();
            let largest = Pass { batch: 3, queries: 24, targets: 72 };
            let options = TrainerOptions { precision, ..options(Keep::Recomputed) };
            let model = adapted(&gpu, 6, dropout, dora);
            let mut trainer = Trainer::new(model, schedule, options, largest).unwrap();
            let all = (0..rounds).flat_map(|_| three_steps(&mut trainer)).map(f64::from_bits);
            let all = all.collect::<Vec<f64>>();
            assert_eq!(trainer.model().precision(), precision);
            assert_eq!(trainer.into_model().precision(), Precision::F32);
            all
        };
        let (full, half) = (losses(Precision::F32), losses(Precision::Mixed));
        assert_eq!(full[0] != half[0], gpu.caps().f16, "16 bits are used where they are there");
        for (step, (f, h)) in full.iter().zip(&half).enumerate() {
            assert!((f - h).abs() <= 5e-3 * f, "step {step}: {f} in f32, {h} with 16 bits");
        }
    }
}

#[test]
fn dropout_follows_its_seed_and_spares_evaluation() {
    let gpu = gpu();
    let seeded = |seed| run(&gpu, 0.3, false, TrainerOptions { seed, ..options(Keep::Recomputed) });
    let first = seeded(1);
    assert_eq!(first, seeded(1));
    assert_ne!(first.0, seeded(2).0);
    assert_ne!(first.0, run(&gpu, 0.0, false, options(Keep::Recomputed)).0);
    let loss = |dropout| {
        let trainer = trainer(adapted(&gpu, 6, dropout, false), options(Keep::Recomputed));
        block_on(trainer.evaluate([batch(&[24, 9], 3)])).unwrap()
    };
    assert_eq!(loss(0.3).to_bits(), loss(0.0).to_bits());
}

#[test]
fn a_restored_trainer_goes_on_as_if_it_had_never_stopped() {
    let gpu = gpu();
    let window = [batch(&[24, 9, 17], 3)];
    // At rank 64 the pairs are large enough for states of 8 bits; DoRA's magnitudes are not.
    for (rank, optim) in [(6, Optim::Adamw), (64, Optim::Adamw8bit)] {
        let options = TrainerOptions { optim, ..options(Keep::Recomputed) };
        let mut whole = trainer(adapted(&gpu, rank, 0.2, true), options);
        block_on(whole.step(&window)).unwrap();
        let (file, state) = block_on(whole.snapshot()).unwrap();
        let coded = state.values().any(|(_, values)| matches!(values, Values::U8(_)));
        assert_eq!(coded, optim == Optim::Adamw8bit);
        let want = block_on(whole.step(&window)).unwrap().loss;
        let mut other = trainer(adapted(&gpu, rank, 0.2, true), options);
        block_on(other.restore(1, &file.tensors, &state)).unwrap();
        let got = block_on(other.step(&window)).unwrap().loss;
        assert_eq!((got.to_bits(), bits(&other)), (want.to_bits(), bits(&whole)), "{optim:?}");
        // State of the other optimizer, or of nothing, is refused.
        assert!(block_on(other.restore(1, &file.tensors, &Default::default())).is_err());
    }
}

/// The rows of `lengths` one by one, as micro-batches of their own.
fn alone(lengths: &[usize]) -> Vec<Batch> {
    let row = |b: usize| {
        let mut alone = Batch::default();
        alone.push(b, &ids(lengths[b], b as u32), 2..lengths[b]);
        alone
    };
    (0..lengths.len()).map(row).collect()
}

#[test]
fn sequences_end_to_end_give_what_they_give_one_by_one() {
    for policy in [Policy::Auto, Policy::Baseline, Policy::Prefer("workgroup".into())] {
        let gpu = open(policy, false);
        for (name, lengths) in [("tiny_a", &[24, 9, 9, 17, 3][..]), ("tiny_b", &[5, 24, 24])] {
            let mut model = load(&gpu, name, Quant::Nf4);
            block_on(model.add_fresh_adapter("a", &adapter(6, &[]), 1)).unwrap();
            shake(&mut model);
            let schedule = Schedule::new(SchedulerType::Linear, 1e-2, 0, 10).unwrap();
            let pass = Pass { batch: 5, queries: 24, targets: 120 };
            let mut trainer =
                Trainer::new(model, schedule, options(Keep::Recomputed), pass).unwrap();
            let together = batch(lengths, 2);
            let (loss, gradients) =
                block_on(trainer.gradients(std::slice::from_ref(&together))).unwrap();
            let (expected_loss, expected) = block_on(trainer.gradients(&alone(lengths))).unwrap();
            assert!((loss - expected_loss).abs() <= 1e-6 * expected_loss, "{loss} {expected_loss}");
            for (key, (_, g)) in &gradients {
                let most = expected[key].1.iter().fold(0f32, |m, v| m.max(v.abs()));
                let error = difference(g, &expected[key].1);
                assert!(error <= 2e-5 * most && most > 0.0, "{name} {key}: {error:e} of {most:e}");
            }
            // Evaluation sees each row exactly as it does alone: nothing is summed over rows.
            let space = trainer.model().workspace(pass, None).unwrap();
            let nll = |b: &Batch| block_on(trainer.model().token_nll(&space, b)).unwrap();
            let (got, each) =
                (nll(&together), alone(lengths).iter().flat_map(&nll).collect::<Vec<_>>());
            assert!(difference(&got, &each) <= 2e-6 * 6.0, "{:e}", difference(&got, &each));
            // Another order is the same sum.
            let turned: Vec<usize> = lengths.iter().rev().copied().collect();
            assert_ne!(nll(&batch(&turned, 2)), got);
        }
    }
}

/// LoRA's way up is a product of its own in baseline bodies and a part of the whole product in
/// those for GPUs.
#[test]
fn lora_within_the_product_equals_lora_beside_it() {
    for dropout in [0.0, 0.3] {
        let [beside, within] =
            [Policy::Baseline, Policy::Prefer("workgroup".into())].map(|policy| {
                let gpu = open(policy, false);
                let mut trainer =
                    trainer(adapted(&gpu, 6, dropout, false), options(Keep::Recomputed));
                gpu.start_profile();
                let made = block_on(trainer.gradients(&[batch(&[24, 9, 17], 3)])).unwrap();
                (made, gpu.take_profile())
            });
        let has_branch = |profile: wgpu_lora::gpu::Profile| {
            profile
                .rows
                .keys()
                .any(|name| name.starts_with("linear_fwd") && name.contains("+branch_lora"))
        };
        // Without timestamps nobody counts.
        assert_ne!(beside.1.map(has_branch), Some(true));
        assert_ne!(within.1.map(has_branch), Some(false));
        let ((expected_loss, expected), (loss, gradients)) = (beside.0, within.0);
        assert!((loss - expected_loss).abs() <= 1e-6 * expected_loss, "{loss} {expected_loss}");
        for (key, (_, g)) in &gradients {
            let most = expected[key].1.iter().fold(0f32, |m, v| m.max(v.abs()));
            let error = difference(g, &expected[key].1);
            assert!(error <= 2e-5 * most && most > 0.0, "{key}: {error:e} of {most:e}");
        }
    }
}

fn slope_is_the_gradient(model: Model, lengths: &[usize]) {
    let window = [batch(lengths, 0)];
    let mut trainer = trainer(model, options(Keep::Recomputed));
    let (_, gradients) = block_on(trainer.gradients(&window)).unwrap();
    is_slope(&mut trainer, &gradients, |trainer| {
        block_on(trainer.evaluate(window.clone())).unwrap()
    });
}

/// DoRA's magnitudes change nothing but the output, so with dropout's mask held still the loss
/// along their gradient must have its slope: in every layer, through the inputs that both parts of
/// the mask divide.
#[test]
fn gradients_of_dora_with_dropout_are_slopes() {
    let gpu = gpu();
    let window = [batch(&[24, 9, 17], 3)];
    let mut trainer = trainer(adapted(&gpu, 6, 0.3, true), options(Keep::Recomputed));
    magnitudes_are_slopes(&mut trainer, &window);
    // Few targets: masks of the rows that the last block selects.
    let few = Pass { batch: 1, queries: 50, targets: 6 };
    let schedule = Schedule::new(SchedulerType::Linear, 1e-2, 0, 10).unwrap();
    let model = adapted(&gpu, 6, 0.3, true);
    let mut trainer = Trainer::new(model, schedule, options(Keep::Recomputed), few).unwrap();
    magnitudes_are_slopes(&mut trainer, &[batch(&[24, 20], 20), batch(&[22, 22], 20)]);
}

fn magnitudes_are_slopes(trainer: &mut Trainer, window: &[Batch]) {
    let (_, mut gradients) = block_on(trainer.gradients(window)).unwrap();
    for (key, (_, values)) in &mut gradients {
        if !key.contains("magnitude") {
            values.fill(0.0);
        }
    }
    is_slope(trainer, &gradients, |trainer| block_on(trainer.gradients(window)).unwrap().0);
}

#[test]
fn gradients_of_any_rank_and_length_are_slopes() {
    let gpu = gpu();
    // Rank 100 is more than the hidden size of both models.
    for (name, rank, lengths) in [
        ("tiny_a", 1, &[2usize, 2] as &[usize]),
        ("tiny_a", 100, &[3, 2]),
        ("tiny_b", 5, &[1, 2]),
        ("tiny_b", 100, &[24]),
    ] {
        let mut model = load(&gpu, name, Quant::Nf4);
        block_on(model.add_fresh_adapter("a", &adapter(rank, &[]), 9)).unwrap();
        shake(&mut model);
        slope_is_the_gradient(model, lengths);
    }
}

#[test]
fn every_operation_of_a_step_equals_its_twin() {
    for policy in [Policy::Auto, Policy::Baseline, Policy::Prefer("workgroup".into())] {
        let gpu = open(policy, true);
        for (name, quant) in
            [("tiny_a", Quant::Nf4), ("tiny_b", Quant::Nf4Single), ("tiny_b", Quant::None)]
        {
            let mut model = load(&gpu, name, quant);
            let mut config = adapter(5, &["q_proj", "v_proj", "gate_proj", "down_proj"]);
            (config.use_dora, config.dropout) = (true, 0.1);
            block_on(model.add_fresh_adapter("a", &config, 2)).unwrap();
            let mut trainer = trainer(model, options(Keep::Recomputed));
            block_on(trainer.step(&[batch(&[6, 2], 1)])).unwrap();
        }
    }
}

#[test]
fn only_the_layers_that_are_named_are_trained() {
    let gpu = gpu();
    let mut model = load(&gpu, "tiny_a", Quant::None);
    block_on(model.add_fresh_adapter("a", &adapter(2, &["layers.1.mlp.up_proj"]), 0)).unwrap();
    let mut trainer = trainer(model, options(Keep::Recomputed));
    let (_, gradients) = block_on(trainer.gradients(&[batch(&[9], 0)])).unwrap();
    let keys: Vec<&str> = gradients.keys().map(String::as_str).collect();
    let base = "base_model.model.model.layers.1.mlp.up_proj";
    assert_eq!(keys, [format!("{base}.lora_A.weight"), format!("{base}.lora_B.weight")]);
    assert!(gradients[keys[1]].1.iter().any(|g| *g != 0.0));
}

#[test]
fn a_window_without_targets_is_refused_and_empty_micro_batches_count_for_nothing() {
    let gpu = gpu();
    let mut trainer_a = trainer(adapted(&gpu, 2, 0.0, false), options(Keep::Recomputed));
    // A single token has nothing to predict.
    let error = block_on(trainer_a.step(&[batch(&[1], 0)])).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    for normalisation in [LossNormalisation::Tokens, LossNormalisation::MeanOfMeans] {
        let with = |window: &[Batch]| {
            let options = TrainerOptions { normalisation, ..options(Keep::Recomputed) };
            let mut trainer = trainer(adapted(&gpu, 2, 0.0, false), options);
            block_on(trainer.step(window)).unwrap().loss
        };
        let (full, empty) = (batch(&[9, 4], 0), batch(&[1], 0));
        let loss = with(&[full, empty]);
        assert!(loss.is_finite() && loss > 0.0, "{loss}");
    }
}

#[test]
fn what_is_not_finite_stops_the_step_and_leaves_the_parameters() {
    let gpu = gpu();
    let mut model = adapted(&gpu, 2, 0.0, false);
    let mut file = block_on(model.adapter().unwrap().to_file(&gpu)).unwrap();
    for (key, (_, values)) in &mut file.tensors {
        if key.contains("layers.1.self_attn.o_proj.lora_B") {
            values[3] = f32::NAN;
        }
    }
    block_on(model.add_trainable_adapter("a", &file)).unwrap();
    let mut trainer = trainer(model, options(Keep::Recomputed));
    let before = bits(&trainer);
    let error = block_on(trainer.step(&[batch(&[9, 4], 0)])).unwrap_err();
    assert!(matches!(&error, Error::NonFinite { step: 1, .. }), "{error}");
    assert_eq!(bits(&trainer), before);
}

#[test]
fn neighbours_change_nothing() {
    let gpu = gpu();
    let trainer = trainer(adapted(&gpu, 6, 0.0, true), options(Keep::Recomputed));
    let nll = |batch| {
        let (model, space) = (trainer.model(), trainer.workspace());
        block_on(model.token_nll(space, &batch)).unwrap()
    };
    let together = nll(batch(&[24, 9], 3));
    // Row 0 alone; row 1 lies behind it.
    let alone = nll(batch(&[24], 3));
    assert!(difference(&together[..alone.len()], &alone) < 1e-5);
}

#[test]
fn a_loop_of_ones_own_is_the_trainers() {
    let gpu = gpu();
    let mut steps = trainer(adapted(&gpu, 6, 0.1, false), options(Keep::Full));
    three_steps(&mut steps);
    let mut own = trainer(adapted(&gpu, 6, 0.1, false), options(Keep::Full));
    for _ in 0..3 {
        let window = [batch(&[24, 9, 17], 3), batch(&[5, 12], 1)];
        let targets: usize = window.iter().map(|batch| batch.targets.len()).sum();
        for batch in &window {
            own.backward(batch, 1.0 / targets as f64).unwrap();
        }
        assert!(block_on(own.update()).unwrap() > 0.0);
    }
    assert!(bits(&own) == bits(&steps));
}
