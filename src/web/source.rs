//! Files that JavaScript reads for us.

use std::cell::RefCell;
use std::collections::HashMap;

use wasm_bindgen::{JsCast, JsValue};

use crate::format::ByteSource;
use crate::{Error, Result};

thread_local! {
    /// Functions of JavaScript stay on their thread; a [`JsSource`] is only the number of one.
    static READERS: RefCell<(u32, HashMap<u32, js_sys::Function>)> = RefCell::default();
}

/// A file of `{name, size, read(offset, length) → Uint8Array}`, read synchronously.
pub(super) struct JsSource {
    name: String,
    len: u64,
    reader: u32,
}

impl JsSource {
    /// Takes such an object. **Errors** [`Error::Invalid`] if it is none.
    pub(super) fn new(file: &JsValue) -> Result<JsSource> {
        let wrong = || Error::invalid("weights", "should be objects {name, size, read}");
        let field = |name: &str| js_sys::Reflect::get(file, &name.into()).map_err(|_| wrong());
        let read: js_sys::Function = field("read")?.dyn_into().map_err(|_| wrong())?;
        let name = field("name")?.as_string().ok_or_else(wrong)?;
        let len = field("size")?.as_f64().ok_or_else(wrong)? as u64;
        let reader = READERS.with_borrow_mut(|(next, readers)| {
            *next += 1;
            readers.insert(*next, read);
            *next
        });
        Ok(JsSource { name, len, reader })
    }
}

impl Drop for JsSource {
    fn drop(&mut self) {
        READERS.with_borrow_mut(|(_, readers)| readers.remove(&self.reader));
    }
}

impl ByteSource for JsSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let failed = |why: String| Error::format(&self.name, format!("byte {offset}"), why);
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            let why = format!(
                "the file ends at byte {}, but {} more bytes are needed here; get it again",
                self.len,
                buf.len()
            );
            return Err(failed(why));
        }
        let read = READERS.with_borrow(|(_, readers)| readers.get(&self.reader).cloned());
        let read = read.ok_or_else(|| failed("the file was closed".into()))?;
        let answer = read
            .call2(&JsValue::NULL, &(offset as f64).into(), &(buf.len() as f64).into())
            .map_err(|e| failed(super::js::message(&e)))?;
        let bytes: js_sys::Uint8Array =
            answer.dyn_into().map_err(|_| failed("`read` gave no Uint8Array".into()))?;
        if bytes.length() as usize != buf.len() {
            return Err(failed(format!("{} bytes came, not {}", bytes.length(), buf.len())));
        }
        bytes.copy_to(buf);
        Ok(())
    }
}
