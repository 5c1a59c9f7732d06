#![no_main]

#[allow(dead_code, reason = "each target uses one function")]
#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    entry::safetensors(data);
});
