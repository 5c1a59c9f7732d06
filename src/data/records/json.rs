//! One record from JSON with lists of bounded length: a list of numbers takes sixteen times its
//! text in memory, and rows are made of texts and messages.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Values of a list. A conversation has fewer messages.
const MOST_VALUES: usize = 2048;

/// The whole of what a deserializer has, nothing behind it.
pub(in crate::data) fn value<'de, R: serde_json::de::Read<'de>>(
    json: &mut serde_json::Deserializer<R>,
) -> serde_json::Result<Value> {
    let value = Kept::record().deserialize(&mut *json)?;
    json.end()?;
    Ok(value)
}

/// Makes a [`Value`]. A column that is a list of something else than objects (token ids, vectors,
/// tags) keeps its first [`MOST_VALUES`]: no row is made of it. Any other longer list is an error.
pub(super) struct Kept {
    /// Objects and lists around the value.
    depth: usize,
}

impl Kept {
    /// The seed of a record.
    pub(super) fn record() -> Kept {
        Kept { depth: 0 }
    }

    fn inside(&self) -> Kept {
        Kept { depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Kept {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kept {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while list.len() < MOST_VALUES {
            match all.next_element_seed(self.inside())? {
                Some(value) => list.push(value),
                None => return Ok(list.into()),
            }
        }
        let unused = self.depth == 1 && !list[0].is_object();
        while all.next_element::<IgnoredAny>()?.is_some() {
            if !unused {
                return Err(A::Error::custom(format!("a list of more than {MOST_VALUES} values")));
            }
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = all.next_key::<String>()? {
            // Readers differ in which of two they take.
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` stands twice")));
            }
            map.insert(key, all.next_value_seed(self.inside())?);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> serde_json::Result<Value> {
        value(&mut serde_json::Deserializer::from_str(text))
    }

    #[test]
    fn values_are_those_of_serde_json() {
        for text in [
            r#"{"a": [1, -2, 0.5, 1e300, true, null, "x\u00e9", {"b": []}], "b": 18446744073709551615}"#,
            "[]",
            "\"x\"",
            "12",
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        }
        for text in ["{\"a\":1} x", "{\"a\":1e999}", "{\"a\"", "{1:2}", &"[".repeat(1 << 20)] {
            let (ours, theirs) = (read(text), serde_json::from_str::<Value>(text));
            assert_eq!(ours.unwrap_err().to_string(), theirs.unwrap_err().to_string());
        }
    }

    #[test]
    fn a_key_stands_once() {
        for text in [r#"{"a": 1, "a": 1}"#, r#"{"m": [{"b": {"a": 1, "\u0061": 2}}]}"#] {
            assert!(read(text).unwrap_err().to_string().contains("the key `a` stands twice"));
        }
    }

    #[test]
    fn long_lists_are_cut_where_no_row_is_made_of_them() {
        let list = |item: &str, n| vec![item; n].join(",");
        let ids = format!(r#"{{"text": "a", "input_ids": [{}]}}"#, list("17", 100_000));
        let record = read(&ids).unwrap();
        assert_eq!(record["text"], "a");
        assert_eq!(record["input_ids"].as_array().unwrap().len(), MOST_VALUES);
        let vectors = format!(r#"{{"v": [{}]}}"#, list("[0,1]", 3000));
        assert!(read(&vectors).is_ok());
        for text in [
            format!(r#"{{"messages": [{}]}}"#, list("{}", MOST_VALUES + 1)),
            format!(r#"{{"messages": [{{"content": [{}]}}]}}"#, list("0", MOST_VALUES + 1)),
        ] {
            assert!(read(&text).unwrap_err().to_string().contains("more than 2048"));
        }
        assert!(read(&format!(r#"{{"messages": [{}]}}"#, list("{}", MOST_VALUES))).is_ok());
    }
}
