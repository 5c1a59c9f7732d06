//! tables: to be judged.

use super::case::{Case, Verdict};

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    Verdict::Disagreed(format!(
        "no judge yet for {} ({:?}, {:?}, {:?})",
        case.id,
        case.input,
        case.expect,
        case.path("")
    ))
}
