//! Whether this process is one of several: what `mpirun` and `srun` say in its environment.

use std::sync::Arc;

use anyhow::{Result, bail};

use crate::train::ranks::{Alone, Ranks};

/// What launchers tell every process that they start: how many there are. Open MPI; MPICH, Intel
/// MPI and Slurm's PMI; a step of Slurm.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Why a command has ended: somebody has asked for it, and all ranks have agreed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Interrupted(pub(super) String);

/// The ranks that this process is one of.
pub(super) struct Launch {
    pub(super) ranks: Arc<dyn Ranks>,
    /// Its number among those of its host.
    pub(super) local: usize,
    #[cfg(feature = "mpi")]
    joined: Option<super::mpi::Joined>,
}

/// The variable of a launcher that has started several of this program, and how many.
fn several() -> Option<(&'static str, usize)> {
    let size = |name| std::env::var(name).ok()?.parse().ok();
    SIZES.into_iter().find_map(|name| Some((name, size(name)?)).filter(|(_, size)| *size > 1))
}

impl Launch {
    /// **Errors** if it was started as one of several and cannot speak with the others.
    pub(super) fn join() -> Result<Launch> {
        match several() {
            Some((name, size)) => Launch::of_several(name, size),
            None => Ok(Launch {
                ranks: Arc::new(Alone),
                local: 0,
                #[cfg(feature = "mpi")]
                joined: None,
            }),
        }
    }

    #[cfg(feature = "mpi")]
    fn of_several(name: &str, size: usize) -> Result<Launch> {
        let (ranks, local, joined) = super::mpi::Mpi::join()?;
        if ranks.size() == 1 {
            bail!(
                "{name} says that {size} processes were started, MPI knows of this one alone: the \
                 launcher belongs to another MPI than the program. Start it with the mpirun of the \
                 MPI that it was built with, or under Slurm with `srun --mpi=pmix`"
            );
        }
        Ok(Launch { ranks: Arc::new(ranks), local, joined: Some(joined) })
    }

    #[cfg(not(feature = "mpi"))]
    fn of_several(name: &str, size: usize) -> Result<Launch> {
        bail!(
            "{name} says that {size} processes were started, and this program was built without \
             MPI: each would do all of the work. Build it with `cargo xtask mpi` (docs/cluster.md), \
             or start one"
        )
    }

    /// Ends the other ranks too, without waiting for them: this one has failed.
    pub(super) fn abort(&self) {
        #[cfg(feature = "mpi")]
        if self.joined.is_some() {
            super::mpi::abort();
        }
    }

    /// Waits until all ranks have come to their end.
    pub(super) fn leave(self) {
        #[cfg(feature = "mpi")]
        if let Some(joined) = self.joined {
            joined.leave();
        }
    }
}
