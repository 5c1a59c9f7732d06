//! The ranks of a program that `mpirun` or `srun` has started: the system's MPI behind [`Ranks`].
//!
//! A rank that fails ends the others ([`abort`]); where one was killed, the launcher does. Open
//! MPI's mpirun first announces that with SIGCONT, then waits as long as
//! `odls_base_sigkill_timeout` says, which is long where a run is to save at SIGTERM. So a rank
//! that waits in vain for others after such an announcement ends itself ([`Watch`]).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mpi::Threading;
use mpi::collective::{CommunicatorCollectives, SystemOperation};
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::{Universe, initialize_with_threading, processor_name};
use mpi::point_to_point::{Destination, Source, send_receive_into};
use mpi::topology::{Communicator, SimpleCommunicator};
use signal_hook::consts::{SIGCONT, SIGTERM};

use crate::train::ranks::Ranks;

/// A rank that is told of the end waits for the others at least so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many exchanges after an announcement show that nobody has died: one that is dead may have
/// given its part of the first.
const EXCHANGES: usize = 2;

/// This process among those of MPI's world.
pub(super) struct Mpi {
    rank: usize,
    size: usize,
    host: String,
    watch: Arc<Watch>,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.place(), self.size)
    }
}

fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

/// A count for MPI. All are of slabs and pieces, which are far shorter.
fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

impl Mpi {
    /// Joins the world: this rank, its number on its host, and what ends MPI when it is dropped,
    /// once all ranks have done their work. The thread that calls it is the one that speaks.
    pub(super) fn join() -> Result<(Mpi, usize, Universe)> {
        let (universe, _) =
            initialize_with_threading(Threading::Funneled).context("MPI was begun twice")?;
        let world = world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        let local = world.split_shared(world.rank()).rank() as usize;
        let host = processor_name().unwrap_or_else(|_| "a host without a name".into());
        let watch = Watch::begin(format!("rank {rank} on {host}"))?;
        Ok((Mpi { rank, size, host, watch }, local, universe))
    }
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn all_to_all(
        &self,
        values: &[f32],
        parts: &[Range<usize>],
        given: &mut Vec<f32>,
    ) -> crate::Result<()> {
        let own = parts[self.rank].len();
        given.resize(own * self.size, 0.0);
        let (counts, from) = layout(parts);
        let own_from = Vec::from_iter((0..self.size).map(|rank| count(rank * own)));
        let sent = Partition::new(values, counts, from);
        let mut to = PartitionMut::new(&mut given[..], vec![count(own); self.size], own_from);
        self.watch.waiting(|| world().all_to_all_varcount_into(&sent, &mut to));
        Ok(())
    }

    fn all_gather_parts(
        &self,
        own: &[f32],
        values: &mut [f32],
        parts: &[Range<usize>],
    ) -> crate::Result<()> {
        let (counts, from) = layout(parts);
        let mut to = PartitionMut::new(values, counts, from);
        self.watch.waiting(|| world().all_gather_varcount_into(own, &mut to));
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> crate::Result<Vec<Vec<u8>>> {
        let mut lengths = vec![0u64; self.size];
        self.watch.waiting(|| world().all_gather_into(&(own.len() as u64), &mut lengths[..]));
        let mut all: Vec<Vec<u8>> = vec![Vec::new(); self.size];
        // MPI counts in 32 bits.
        let most = i32::MAX as usize / self.size;
        let longest = lengths.iter().copied().max().unwrap_or(0) as usize;
        for at in (0..longest).step_by(most) {
            let of = |length: usize| at.min(length)..(at + most).min(length);
            let counts = Vec::from_iter(lengths.iter().map(|&n| of(n as usize).len()));
            let mut from = vec![0; self.size];
            for rank in 1..self.size {
                from[rank] = from[rank - 1] + counts[rank - 1];
            }
            let mut piece = vec![0u8; counts.iter().sum()];
            let (to_counts, to_from): (Vec<i32>, Vec<i32>) =
                counts.iter().zip(&from).map(|(n, at)| (count(*n), count(*at))).unzip();
            let mut to = PartitionMut::new(&mut piece[..], to_counts, to_from);
            let sent = &own[of(own.len())];
            self.watch.waiting(|| world().all_gather_varcount_into(sent, &mut to));
            drop(to);
            for (rank, bytes) in all.iter_mut().enumerate() {
                bytes.extend_from_slice(&piece[from[rank]..][..counts[rank]]);
            }
        }
        Ok(all)
    }
}

/// Lengths and first elements.
fn layout(parts: &[Range<usize>]) -> (Vec<i32>, Vec<i32>) {
    parts.iter().map(|part| (count(part.len()), count(part.start))).unzip()
}

/// `sums[i] = Σ values[i]` as MPI sums, in an order of its own; to compare with.
pub(super) fn all_reduce(values: &[f32], sums: &mut [f32]) {
    world().all_reduce_into(values, sums, SystemOperation::sum());
}

/// Sends them from rank 0 to the last one, which answers with a byte.
pub(super) fn send_to_last(values: &mut [f32]) {
    let (world, mut answer) = (world(), 0u8);
    let last = world.size() - 1;
    if world.rank() == 0 {
        world.process_at_rank(last).send(&*values);
        world.process_at_rank(last).receive_into(&mut answer);
    } else if world.rank() == last {
        world.process_at_rank(0).receive_into(values);
        world.process_at_rank(0).send(&answer);
    }
}

/// Sends `values` from rank 0 to the last one, and as many back at the same time.
pub(super) fn send_both_ways(values: &[f32], got: &mut [f32]) {
    let (world, last) = (world(), world().size() - 1);
    if world.rank() == 0 || world.rank() == last {
        let other = world.process_at_rank(last - world.rank());
        send_receive_into(values, &other, got, &other);
    }
}

/// Ends all ranks at once.
pub(super) fn abort() -> ! {
    world().abort(1)
}

/// Ends this process where others that it waits for are gone.
struct Watch {
    place: String,
    begun: Instant,
    /// Exchanges until an announcement is forgotten; signals set it.
    announced: Arc<AtomicUsize>,
    /// When the exchange began that is under way, and the last one ended: milliseconds since
    /// `begun`; 0 for none.
    began: AtomicU64,
    ended: AtomicU64,
    /// How long an exchange lasts, or the work between two: the longest of late, in milliseconds.
    longest: AtomicU64,
}

impl Watch {
    fn begin(place: String) -> Result<Arc<Watch>> {
        let watch = Arc::new(Watch {
            place,
            begun: Instant::now(),
            announced: Arc::default(),
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        });
        for signal in [SIGCONT, SIGTERM] {
            let to = watch.announced.clone();
            signal_hook::flag::register_usize(signal, to, EXCHANGES).context("signals")?;
        }
        let watched = watch.clone();
        std::thread::spawn(move || watched.run());
        Ok(watch)
    }

    fn now(&self) -> u64 {
        1 + self.begun.elapsed().as_millis() as u64
    }

    /// Does what returns when the other ranks have done it too.
    fn waiting(&self, exchange: impl FnOnce()) {
        let began = self.now();
        self.began.store(began, Ordering::SeqCst);
        exchange();
        self.began.store(0, Ordering::SeqCst);
        let now = self.now();
        let before = self.ended.swap(now, Ordering::SeqCst);
        // The first step, which compiles, is forgotten within a few.
        let of_late = self.longest.load(Ordering::SeqCst) / 10 * 9;
        let lasted = (now - began).max(began - before);
        self.longest.store(of_late.max(lasted), Ordering::SeqCst);
        let less = |left: usize| left.checked_sub(1);
        let _ = self.announced.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    fn run(&self) {
        let mut since = None;
        loop {
            std::thread::sleep(Duration::from_millis(500));
            if self.announced.load(Ordering::SeqCst) == 0 {
                since = None;
                continue;
            }
            let told = *since.get_or_insert(self.now());
            let began = self.began.load(Ordering::SeqCst);
            let patience = PATIENCE.as_millis() as u64 + self.longest.load(Ordering::SeqCst);
            if began > 0 && self.now().saturating_sub(began.max(told)) > patience {
                tracing::error!("{}: the other ranks do not answer; ended", self.place);
                signal_hook::low_level::exit(1);
            }
        }
    }
}
