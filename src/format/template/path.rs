//! Attributes by which the filters of sequences look things up.

use super::attributes;
use super::fault::Result;
use super::value::{Machine, Value};

/// The parts of `a.b.0`, by which attributes are looked up.
pub(super) struct Path(pub(super) Vec<Value>);

impl Path {
    pub(super) fn new(attribute: Option<Value>) -> Result<Path> {
        Ok(Path(match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Text(path)) => path.split('.').map(Self::part).collect(),
            Some(value) => vec![value],
        }))
    }

    /// Several, with commas between.
    pub(super) fn several(attribute: Option<Value>) -> Result<Vec<Path>> {
        match attribute {
            Some(Value::Text(paths)) => {
                paths.split(',').map(|path| Path::new(Some(Value::text(path)))).collect()
            }
            attribute => Ok(vec![Path::new(attribute)?]),
        }
    }

    fn part(part: &str) -> Value {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match part.parse() {
            Ok(n) if digits => Value::Int(n),
            _ => Value::text(part),
        }
    }

    pub(super) fn get(&self, machine: &mut Machine, value: Value) -> Result<Value> {
        self.0.iter().try_fold(value, |value, part| attributes::item(machine, &value, part))
    }

    /// The same with something in the place of what is undefined.
    pub(super) fn get_or(
        &self,
        machine: &mut Machine,
        value: Value,
        default: &Value,
    ) -> Result<Value> {
        self.0.iter().try_fold(value, |value, part| {
            let found = attributes::item(machine, &value, part)?;
            let replace = found.is_undefined() && !matches!(default, Value::None);
            Ok(if replace { default.clone() } else { found })
        })
    }
}
