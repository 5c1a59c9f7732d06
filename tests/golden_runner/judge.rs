//! A case, and the comparisons it makes.

use std::error::Error;

/// What can go wrong in a case, in words.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// An error from words.
pub fn wrong<T>(words: impl ToString) -> Outcome<T> {
    Err(words.to_string().into())
}

type Body = Box<dyn FnOnce(&mut Judge) -> Outcome + Send>;

/// One trial.
pub struct Case {
    pub name: String,
    body: Body,
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        body: impl FnOnce(&mut Judge) -> Outcome + Send + 'static,
    ) -> Case {
        Case { name: name.into(), body: Box::new(body) }
    }

    /// A case that fails with these words.
    pub fn broken(name: &str, why: impl ToString) -> Case {
        let why = why.to_string();
        Case::new(name, move |_| wrong(why))
    }

    pub fn run(self) -> Outcome {
        let mut judge =
            Judge { case: self.name, place: "host".into(), compared: 0, failures: Vec::new() };
        (self.body)(&mut judge)?;
        if judge.compared == 0 {
            return wrong("nothing was compared: the case lacks all files that hold results");
        }
        match judge.failures.is_empty() {
            true => Ok(()),
            false => wrong(judge.failures.join("\n")),
        }
    }
}

/// Takes errors, prints a line for each, and remembers those over their bound.
pub struct Judge {
    case: String,
    place: String,
    compared: usize,
    failures: Vec<String>,
}

impl Judge {
    /// Where the following comparisons run: `device, variant`, or `host`.
    pub fn at(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    /// One comparison: `error` may be at most `bound`, and no NaN.
    pub fn compare(&mut self, what: &str, error: f64, bound: f64) {
        self.compared += 1;
        let fine = error <= bound;
        let verdict = if fine { "" } else { "  FAILED" };
        let line = format!(
            "{}: {what}, {}, error {error:.2e}, bound {bound:.1e}{verdict}",
            self.case, self.place
        );
        println!("{line}");
        if !fine {
            self.failures.push(line);
        }
    }

    /// The largest |got − want| against a bound; different lengths fail.
    pub fn largest(&mut self, what: &str, got: &[f32], want: &[f32], bound: f64) {
        self.compare(what, largest_difference(got, want), bound);
    }

    /// Says something beside the comparisons.
    pub fn note(&self, words: &str) {
        println!("{}: {words}", self.case);
    }
}

/// The larger error; NaN if one of them is NaN (`f64::max` would drop it) or infinite.
pub fn worse(a: f64, b: f64) -> f64 {
    if a.is_finite() && b.is_finite() { a.max(b) } else { f64::NAN }
}

/// max |a − b|; NaN if the lengths differ, or if one of them is NaN or infinite.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    let difference = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    a.iter().zip(b).map(difference).fold(0.0, worse)
}

/// ‖a − b‖ / ‖b‖, or ‖a‖ where b is zero.
pub fn relative_norm(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    let square = |v: f64| v * v;
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    difference.sqrt() / if norm > 0.0 { norm.sqrt() } else { 1.0 }
}
