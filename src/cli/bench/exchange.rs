//! `bench exchange`: how long ranks take to sum their gradients, and what MPI alone would take.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use crate::cli::args::Inspect;
use crate::cli::mpi;
use crate::cli::session::Session;
use crate::gpu::Elem;
use crate::train::ranks;

#[derive(Debug, Args)]
pub(super) struct ExchangeArgs {
    /// Gradients, MB; those of Llama 3.2 1B with r = 16 on all linear layers are 45.
    #[arg(long, value_name = "MB", default_value_t = 45.0)]
    megabytes: f64,
    /// How often each is done; the median counts.
    #[arg(long, default_value_t = 5)]
    times: usize,
}

/// The median time of something, after one that does not count. All ranks begin together.
fn seconds(session: &Session, times: usize, mut act: impl FnMut() -> Result<()>) -> Result<f64> {
    act()?;
    let mut all = Vec::new();
    for _ in 0..times.max(1) {
        session.ranks.barrier()?;
        let clock = Instant::now();
        act()?;
        all.push(clock.elapsed().as_secs_f64());
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

pub(super) async fn run(session: &Session, args: &ExchangeArgs) -> Result<()> {
    let ranks = &*session.ranks;
    let (size, times) = (ranks.size(), args.times);
    if size < 2 {
        bail!("one rank exchanges nothing; start several with mpirun");
    }
    let n = (args.megabytes * 1e6 / 4.0) as usize;
    let mut values = vec![1.0f32; n.max(1)];
    let mut scratch = Vec::new();
    let exchange = seconds(session, times, || Ok(ranks::sum(ranks, &mut values, &mut scratch)?))?;
    values.fill(1.0);
    let mut sums = vec![0.0f32; values.len()];
    let allreduce = seconds(session, times, || {
        mpi::all_reduce(&values, &mut sums);
        Ok(())
    })?;
    let send = seconds(session, times, || {
        mpi::send_to_last(&mut values);
        Ok(())
    })?;
    let both_ways = seconds(session, times, || {
        mpi::send_both_ways(&values, &mut sums);
        Ok(())
    })?;
    let gpu = session.gpu(Inspect::default(), None).await?;
    let tensor = gpu.tensor("gradients", &[values.len()], Elem::F32)?;
    let read_back = seconds(session, times, || {
        pollster::block_on(gpu.read(&tensor))?;
        Ok(())
    })?;
    let upload = seconds(session, times, || {
        gpu.write(&tensor, &values)?;
        Ok(gpu.flush("upload")?)
    })?;
    let bytes = 4.0 * values.len() as f64;
    let sent = 2.0 * (size - 1) as f64 / size as f64 * bytes;
    // Ranks send and receive at once, over a link that does the same.
    let rate = bytes / send;
    let line = json!({
        "ranks": size, "bytes": bytes, "sent_bytes": sent, "exchange_seconds": exchange,
        "allreduce_seconds": allreduce, "send_seconds": send, "both_ways_seconds": both_ways,
        "predicted_seconds": sent / rate, "read_back_seconds": read_back, "upload_seconds": upload,
    });
    session.printer.object(&line)?;
    session.printer.line(format!(
        "{size} ranks, {:.1} MB of gradients: {:.1} ms ({:.2} GB/s sent and received by each)\n  \
         MPI_Allreduce {:.1} ms ({:.2} times), a plain send {:.1} ms, one both ways {:.1} ms\n  \
         predicted from the plain send {:.1} ms\n  \
         read-back {:.1} ms, upload {:.1} ms",
        bytes / 1e6,
        1e3 * exchange,
        sent / exchange / 1e9,
        1e3 * allreduce,
        exchange / allreduce,
        1e3 * send,
        1e3 * both_ways,
        1e3 * sent / rate,
        1e3 * read_back,
        1e3 * upload,
    ))
}
