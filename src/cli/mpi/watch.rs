//! Ranks that wait in vain.
//!
//! An exchange returns when all ranks take part, and MPI does not say that one never will. Open
//! MPI's mpirun sees that a rank has died, announces the end with SIGCONT, and then waits as long
//! as `odls_base_sigkill_timeout` says, which is long where a run is to save at SIGTERM. So a rank
//! in an exchange looks whether the processes of the others on its host are still there; of those
//! on other hosts it knows the announcement, which also comes before SIGTERM, and loses its
//! patience.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::SIGCONT;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(500);

/// A rank that is told of the end waits for the others at least so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many exchanges that began so long after an announcement show that nobody has died: where
/// mpirun itself has, ranks on its host work on for a second, and one that is dead may have given
/// its part of the first.
const EXCHANGES: usize = 2;
const SETTLED: Duration = Duration::from_secs(5);

/// The number of this process, and of the namespace that it counts in; 0 where there are none.
pub(super) fn this_process() -> [u64; 2] {
    let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino());
    [std::process::id().into(), namespace]
}

/// Ends this process where others that it waits for are gone.
pub(super) struct Watch {
    /// What messages call this rank, once it knows.
    place: OnceLock<String>,
    begun: Instant,
    /// Of the other processes on this host, what the system shows while they are there.
    neighbours: Mutex<Vec<PathBuf>>,
    /// Exchanges until an announcement is forgotten; signals set it.
    announced: Arc<AtomicUsize>,
    /// When it was seen: milliseconds since `begun`; 0 for none.
    told: AtomicU64,
    /// When the exchange began that is under way, and the last one ended, likewise.
    began: AtomicU64,
    ended: AtomicU64,
    /// How long an exchange lasts, or the work between two: the longest of late, in milliseconds.
    longest: AtomicU64,
    /// Whether another rank has work to do that this one waits for, such as a save.
    patient: AtomicBool,
}

impl Watch {
    pub(super) fn begin() -> Result<Arc<Watch>> {
        let watch = Arc::new(Watch {
            place: OnceLock::new(),
            begun: Instant::now(),
            neighbours: Mutex::default(),
            announced: Arc::default(),
            told: AtomicU64::new(0),
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            patient: AtomicBool::new(false),
        });
        let to = watch.announced.clone();
        signal_hook::flag::register_usize(SIGCONT, to, EXCHANGES).context("signals")?;
        let watched = watch.clone();
        std::thread::spawn(move || watched.run());
        Ok(watch)
    }

    /// From now on none of these processes may go before this one, which messages call `place`, has
    /// left. Nothing is looked at where the system does not show them under `/proc`, or their
    /// numbers are of another container.
    pub(super) fn begin_with_neighbours(&self, place: String, processes: &[[u64; 2]]) {
        self.place.get_or_init(|| place);
        let [_, ours] = this_process();
        let beside = processes.iter().filter(|[_, namespace]| *namespace == ours);
        let shown = beside.map(|[pid, _]| PathBuf::from(format!("/proc/{pid}/stat")));
        self.set_neighbours(shown.filter(|process| process.exists()).collect());
    }

    /// From now on they may go.
    pub(super) fn end_with_neighbours(&self) {
        self.set_neighbours(Vec::new());
    }

    fn set_neighbours(&self, to: Vec<PathBuf>) {
        *self.neighbours.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// Does what returns when a rank has done other work, however long that takes: only the end of
    /// a neighbour ends this wait.
    pub(super) fn waiting_for_work<T>(&self, exchange: impl FnOnce() -> T) -> T {
        self.patient.store(true, Ordering::SeqCst);
        let got = self.waiting(exchange);
        self.patient.store(false, Ordering::SeqCst);
        got
    }

    /// Does what returns when the other ranks have done it too.
    pub(super) fn waiting<T>(&self, exchange: impl FnOnce() -> T) -> T {
        let began = self.now();
        self.began.store(began, Ordering::SeqCst);
        let got = exchange();
        self.began.store(0, Ordering::SeqCst);
        let now = self.now();
        let before = self.ended.swap(now, Ordering::SeqCst);
        // The first step, which compiles, is forgotten within a few.
        let of_late = self.longest.load(Ordering::SeqCst) / 10 * 9;
        let lasted = (now - began).max(began - before);
        self.longest.store(of_late.max(lasted), Ordering::SeqCst);
        let told = self.told.load(Ordering::SeqCst);
        let is_settled = told > 0 && began > told + millis(SETTLED);
        let less = |left: usize| left.checked_sub(usize::from(is_settled));
        let _ = self.announced.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        got
    }

    fn now(&self) -> u64 {
        1 + self.begun.elapsed().as_millis() as u64
    }

    fn run(&self) {
        loop {
            std::thread::sleep(PERIOD);
            match (self.announced.load(Ordering::SeqCst), self.told.load(Ordering::SeqCst)) {
                (0, _) => self.told.store(0, Ordering::SeqCst),
                (_, 0) => self.told.store(self.now(), Ordering::SeqCst),
                _ => {}
            }
            let began = self.began.load(Ordering::SeqCst);
            if began == 0 {
                continue;
            }
            if self.a_neighbour_is_gone() {
                self.end("another rank on this host is gone");
            } else if self.is_out_of_patience(began) {
                self.end("the other ranks do not answer");
            }
        }
    }

    fn end(&self, why: &str) {
        tracing::error!("{}: {why}; ended", self.place.get().map_or("a rank", |place| place));
        signal_hook::low_level::exit(1);
    }

    fn a_neighbour_is_gone(&self) -> bool {
        let neighbours = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner);
        neighbours.iter().any(|stat| !lives(stat))
    }

    fn is_out_of_patience(&self, began: u64) -> bool {
        if self.patient.load(Ordering::SeqCst) {
            return false;
        }
        let told = self.told.load(Ordering::SeqCst);
        let patience = millis(PATIENCE) + self.longest.load(Ordering::SeqCst);
        told > 0 && self.now().saturating_sub(began.max(told)) > patience
    }
}

/// Whether a process does by its `stat`: one that nobody has waited for is still shown.
fn lives(stat: &Path) -> bool {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    // Behind the name, which may have anything in it.
    let state = text.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !['Z', 'X'].contains(&state))
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
