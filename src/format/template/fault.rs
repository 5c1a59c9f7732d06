//! Why a template gave no text.

/// Whose no it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The template's, or jinja2's: the reference raises an error, too.
    Raised,
    /// Ours: the reference would go on.
    Beyond,
}

/// What stopped a template, and where.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// From 1; 0 where it is not known yet.
    pub(super) line: usize,
    pub(super) why: String,
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

/// What jinja2 raises, too.
pub(super) fn raised(why: impl Into<String>) -> Fault {
    Fault { kind: Kind::Raised, line: 0, why: why.into() }
}

/// What jinja2 does and this program does not; `what` ends the sentence "this program does not
/// know".
pub(super) fn beyond(what: impl Into<String>) -> Fault {
    Fault { kind: Kind::Beyond, line: 0, why: what.into() }
}

impl Fault {
    /// The same at a line, unless it has one already.
    pub(super) fn at(self, line: usize) -> Fault {
        match self.line {
            0 => Fault { line, ..self },
            _ => self,
        }
    }
}

/// Bytes or elements that one value may have: a template is no program that computes.
const MOST: usize = 64 << 20;

/// Refuses what would fill the memory.
pub(super) fn room(size: usize) -> Result<()> {
    match size > MOST {
        true => Err(beyond("values of more than 64 MiB")),
        false => Ok(()),
    }
}
