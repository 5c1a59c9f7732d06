//! The ranks of a program that `mpirun` or `srun` has started: the system's MPI behind [`Ranks`].
//!
//! A rank that fails ends the others ([`abort`]); where one was killed, the launcher does, and may
//! take its time. So a rank that waits for others which are gone ends itself ([`watch`]).

mod watch;

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use mpi::Threading;
use mpi::collective::{CommunicatorCollectives, SystemOperation};
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::{Universe, initialize_with_threading, processor_name};
use mpi::point_to_point::{Destination, Source, send_receive_into};
use mpi::topology::{Communicator, SimpleCommunicator};

use crate::train::ranks::Ranks;
use watch::Watch;

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
    /// Joins the world: this rank, its number on its host, and what it leaves by.
    /// The thread that calls it is the one that speaks.
    pub(super) fn join() -> Result<(Mpi, usize, Joined)> {
        let watch = Watch::begin()?;
        let universe = watch.waiting(|| initialize_with_threading(Threading::Funneled));
        let (universe, _) = universe.context("MPI was begun twice")?;
        let world = world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        let host = processor_name().unwrap_or_else(|_| "a host without a name".into());
        let neighbours = world.split_shared(world.rank());
        let mut processes = vec![0; 2 * neighbours.size() as usize];
        watch
            .waiting(|| neighbours.all_gather_into(&watch::this_process()[..], &mut processes[..]));
        let joined = Joined { universe: ManuallyDrop::new(universe), watch: watch.clone() };
        let mpi = Mpi { rank, size, host, watch };
        mpi.watch.begin_with_neighbours(mpi.place(), processes.as_chunks().0);
        Ok((mpi, neighbours.rank() as usize, joined))
    }
}

/// That this process has joined MPI's world. One that ends without leaving it, such as by a panic,
/// takes the others with it.
pub(super) struct Joined {
    universe: ManuallyDrop<Universe>,
    watch: Arc<Watch>,
}

impl Joined {
    /// Returns when all ranks have come to their end.
    pub(super) fn leave(self) {
        self.watch.end_with_neighbours();
        self.watch.waiting(|| drop(ManuallyDrop::into_inner(self.universe)));
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

    fn barrier(&self) -> crate::Result<()> {
        self.watch.waiting_for_work(|| world().barrier());
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
