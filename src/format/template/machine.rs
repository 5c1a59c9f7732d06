//! What a template has while it is rendered.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use super::ast::Name;
use super::fault::{Result, beyond};
use super::scope::Scope;
use crate::format::moment::Moment;

/// Steps that a template may take; the largest published ones take some thousand per message.
const FUEL: usize = 20_000_000;

/// Bytes of the stack that one may take: a thread has 2 MiB.
const STACK: usize = 1 << 20;

/// Runs what is called and has a body, a macro or a recursive loop: its text.
type Again<V, A> = fn(&mut Machine<V, A>, &V, A) -> Result<String>;

/// Of values V; what is called is given A.
pub(super) struct Machine<V: Clone, A> {
    fuel: usize,
    /// About where the stack was when it began.
    stack: usize,
    /// What `strftime_now` calls now.
    pub(super) now: Moment,
    pub(super) again: Again<V, A>,
    /// Bytes of the template's own text so far, without what macros and the like are about to give
    /// it.
    pub(super) written: usize,
    /// Where marked texts begin, in bytes, and how many characters they have.
    pub(super) marked: Vec<(usize, usize)>,
    pub(super) namespaces: Vec<Vec<(Name, V)>>,
    /// Scopes that macros were defined in.
    pub(super) closures: Vec<Rc<Scope<V>>>,
    /// Whether a namespace is being written.
    pub(super) writing: Cell<bool>,
}

impl<V: Clone, A> Machine<V, A> {
    pub(super) fn new(now: Moment, again: Again<V, A>) -> Self {
        Machine {
            fuel: FUEL,
            stack: here(),
            now,
            again,
            written: 0,
            marked: Vec::new(),
            namespaces: Vec::new(),
            closures: Vec::new(),
            writing: Cell::new(false),
        }
    }

    /// Counts what a template does, so that one without an end is stopped.
    pub(super) fn spend(&mut self, steps: usize) -> Result<()> {
        match self.fuel.checked_sub(steps) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => Err(beyond(format!("templates that take more than {FUEL} steps"))),
        }
    }

    /// A step that may lead to others below it.
    pub(super) fn descend(&mut self) -> Result<()> {
        if self.stack.abs_diff(here()) > STACK {
            return Err(beyond("macros and expressions that call each other so deep"));
        }
        self.spend(1)
    }

    /// Bytes of `text` that stand between marks.
    pub(super) fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let span = |&(from, characters): &(usize, usize)| {
            let from = from.min(text.len());
            let behind = text[from..].char_indices().nth(characters);
            from..behind.map_or(text.len(), |(at, _)| from + at)
        };
        self.marked.iter().map(span).collect()
    }
}

impl<V: Clone, A> Drop for Machine<V, A> {
    fn drop(&mut self) {
        self.closures.iter().for_each(|scope| scope.clear());
    }
}

/// About where the stack is.
fn here() -> usize {
    let mark = 0u8;
    std::ptr::from_ref(std::hint::black_box(&mark)) as usize
}
