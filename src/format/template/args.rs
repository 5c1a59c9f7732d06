//! What a call is given, as the function wants it.

use std::rc::Rc;

use super::fault::{Result, raised};
use super::value::Value;

pub(super) use super::value::Args;

impl Args {
    /// The arguments by name, the first `needed` of which must be there.
    pub(super) fn named<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
        needed: usize,
    ) -> Result<[Option<Value>; N]> {
        let mut found = [const { None }; N];
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(raised(format!(
                "{function}() takes at most {N} arguments ({given} given)"
            )));
        }
        for (slot, value) in found.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.keyword {
            let Some(at) = names.iter().position(|known| *known == &*name) else {
                let why = format!("{function}() got an unexpected keyword argument '{name}'");
                return Err(raised(why));
            };
            if found[at].replace(value).is_some() {
                let why = format!("{function}() got multiple values for argument '{name}'");
                return Err(raised(why));
            }
        }
        match found.iter().take(needed).position(Option::is_none) {
            Some(at) => {
                let name = names[at];
                Err(raised(format!("{function}() missing required argument: '{name}'")))
            }
            None => Ok(found),
        }
    }

    /// The arguments of a function that takes none by name.
    pub(super) fn positional_only<const N: usize>(
        self,
        function: &str,
        needed: usize,
    ) -> Result<[Option<Value>; N]> {
        if !self.keyword.is_empty() {
            return Err(raised(format!("{function}() takes no keyword arguments")));
        }
        let given = self.positional.len();
        if given > N || given < needed {
            let why = format!("{function}() takes {needed} to {N} arguments ({given} given)");
            return Err(raised(why));
        }
        self.named(function, [""; N], 0)
    }
}

/// A text argument.
pub(super) fn text_of(value: Option<Value>, function: &str) -> Result<Rc<str>> {
    match value {
        Some(Value::Text(text) | Value::Markup(text)) => Ok(text),
        other => {
            let kind = other.map_or("nothing", |value| value.kind());
            Err(raised(format!("{function}() argument must be str, not {kind}")))
        }
    }
}

/// A whole number, or what stands for none.
pub(super) fn int_of(value: Option<Value>, default: i128, function: &str) -> Result<i128> {
    match value {
        None => Ok(default),
        Some(value) => value.as_int().ok_or_else(|| {
            let kind = value.kind();
            raised(format!("{function}(): '{kind}' object cannot be interpreted as an integer"))
        }),
    }
}

/// A whole number argument.
pub(super) fn whole(value: Option<Value>, default: i128) -> Result<i128> {
    match value {
        None => Ok(default),
        Some(value) => value.as_int().ok_or_else(|| {
            raised(format!("'{}' object cannot be interpreted as an integer", value.kind()))
        }),
    }
}
