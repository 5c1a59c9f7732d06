//! The order in which a file has its keys: tokens are added in it, and ids follow from it.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Keys of an object, in order.
#[derive(Default)]
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        d.deserialize_map(All)
    }
}

#[derive(Deserialize)]
struct Extra {
    extra_special_tokens: Keys,
}

/// The keys of a file, and behind them those of its `extra_special_tokens`, if these have names.
pub(super) fn keys(bytes: &[u8]) -> Vec<String> {
    let mut keys = serde_json::from_slice::<Keys>(bytes).unwrap_or_default().0;
    if let Ok(extra) = serde_json::from_slice::<Extra>(bytes) {
        keys.extend(extra.extra_special_tokens.0);
    }
    keys
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_come_in_the_files_order() {
        let text = br#"{"z":{"y":1},"extra_special_tokens":{"c":"1","b":"2"},"a":[{"q":1}]}"#;
        assert_eq!(super::keys(text), ["z", "extra_special_tokens", "a", "c", "b"]);
        assert_eq!(super::keys(br#"{"extra_special_tokens":["c"]}"#), ["extra_special_tokens"]);
        assert!(super::keys(b"[]").is_empty());
    }
}
