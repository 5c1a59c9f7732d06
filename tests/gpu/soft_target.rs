use crate::harness::{Case, Check, floats, nan, noise, random, words};
use wgpu_lora::gpu::{Gpu, Tensor};
use wgpu_lora::kernels::{AddEntries, Crps, Entries, SoftTarget};

/// `l` rows of up to `most` entries among `v` tokens; every third row has none.
struct Rows {
    logits: Tensor,
    labels: Tensor,
    ranges: Tensor,
    entries: Tensor,
    weights: Tensor,
    gradient: Tensor,
    loss: Tensor,
}

impl Rows {
    fn new(gpu: &Gpu, [l, v, most]: [usize; 3]) -> Rows {
        let values: Vec<f32> = noise(l * v, "logits").iter().map(|x| 4.0 * x).collect();
        let (mut ranges, mut entries, mut labels) = (vec![0], Vec::new(), Vec::new());
        for row in 0..l {
            let count = if row % 3 == 2 { 0 } else { most - row % most.min(4) };
            let each = v / most;
            labels.push((count / 2 * each) as u32);
            let shares: Vec<f32> = noise(count, "shares").iter().map(|x| 1.01 + x).collect();
            let sum: f32 = shares.iter().sum();
            entries.extend(
                shares
                    .iter()
                    .enumerate()
                    .flat_map(|(i, share)| [(i * each) as u32, (share / sum).to_bits()]),
            );
            ranges.push(entries.len() as u32 / 2);
        }
        let e = entries.len() / 2;
        let weights: Vec<f32> = noise(l, "weights").iter().map(|x| 1.5 + x).collect();
        Rows {
            logits: floats(gpu, "logits", &[l, v], &values),
            labels: words(gpu, "labels", &[l], &labels),
            ranges: words(gpu, "ranges", &[l + 1], &ranges),
            entries: words(gpu, "entries", &[e, 2], &entries),
            weights: floats(gpu, "weights", &[l], &weights),
            gradient: nan(gpu, "gradient", &[e]),
            loss: nan(gpu, "loss", &[l]),
        }
    }

    fn entries(&self) -> Entries<'_> {
        Entries { ranges: &self.ranges, entries: &self.entries, weights: &self.weights }
    }
}

fn soft_target(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let r = Rows::new(gpu, [sizes[0], sizes[1], sizes[2]]);
    let op = SoftTarget {
        logits: &r.logits,
        labels: &r.labels,
        rows: r.entries(),
        scale: 0.3,
        gradient: &r.gradient,
        loss: &r.loss,
    };
    check(&op, &[&SoftTarget { scale: 0.2, ..op }])
}

fn crps(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let r = Rows::new(gpu, [sizes[0], sizes[1], sizes[2]]);
    let op = Crps {
        logits: &r.logits,
        rows: r.entries(),
        scale: 0.3,
        gradient: &r.gradient,
        loss: &r.loss,
    };
    check(&op, &[&Crps { scale: 0.2, ..op }])
}

fn add_entries(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let r = Rows::new(gpu, [sizes[0], sizes[1], sizes[2]]);
    let (gradient, loss) =
        (random(gpu, "found", r.gradient.dims()), random(gpu, "more", &[sizes[0]]));
    let (nll, zero) = (random(gpu, "nll", &[sizes[0]]), random(gpu, "zero", &[sizes[0]]));
    let (rows, logits) = (r.entries(), &r.logits);
    let op = AddEntries { rows, gradient: &gradient, loss: &loss, logits, nll: &nll };
    let other = random(gpu, "other", r.gradient.dims());
    check(&op, &[&AddEntries { gradient: &other, ..op }, &AddEntries { loss: &zero, ..op }])
}

pub fn cases() -> Vec<Case> {
    // Rows, vocabulary, entries of a row at most.
    let sizes: &[&[usize]] = &[&[1, 4, 4], &[5, 64, 11], &[4, 2048, 300], &[7, 5000, 1000]];
    let mut all = crate::harness::cases("soft_target", sizes, soft_target);
    all.extend(crate::harness::cases("crps", sizes, crps));
    all.extend(crate::harness::cases("add_entries", sizes, add_entries));
    all
}
