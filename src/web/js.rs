//! Values between Rust and JavaScript.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};

use crate::Error;
use crate::error::spelled;

/// A JavaScript `Error` whose `name` is [`Error::kind`]; numbers of `OutOfMemory` come along, so
/// that a page can say them in its own words.
pub(super) fn error(error: Error) -> JsValue {
    let js = js_sys::Error::new(&spelled(&error.to_string(), property));
    js.set_name(error.kind());
    if let Error::OutOfMemory { what, needed_bytes, limit_bytes, .. } = &error {
        let properties: [(&str, JsValue); 3] = [
            ("what", what.into()),
            ("neededBytes", (*needed_bytes as f64).into()),
            ("limitBytes", (*limit_bytes as f64).into()),
        ];
        for (key, value) in properties {
            let _ = js_sys::Reflect::set(&js, &key.into(), &value);
        }
    }
    js.into()
}

/// A setting as JavaScript spells it: `maxLength`, `loss: all`.
fn property(name: &str, value: Option<&str>) -> Option<String> {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    let camel = words.fold(first, |all, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        format!("{all}{}{tail}", head.to_uppercase())
    });
    Some(match value {
        None => camel,
        Some(value) => format!("{camel}: {value}"),
    })
}

/// The message of whatever JavaScript threw.
pub(super) fn message(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{thrown:?}"),
    }
}

/// Anything serializable, as plain objects.
pub(super) fn object(value: &impl Serialize) -> Result<JsValue, JsValue> {
    let text = serde_json::to_string(value).map_err(|e| error(Error::invalid("result", e)))?;
    js_sys::JSON::parse(&text)
}

/// Options, from the text that `JSON.stringify` gives.
pub(super) fn options<T: DeserializeOwned>(text: &str) -> Result<T, JsValue> {
    serde_json::from_str(text).map_err(|e| error(Error::invalid("options", e)))
}
