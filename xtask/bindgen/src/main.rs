//! `bindgen IN.wasm OUT-FOLDER NAME`: writes `NAME_bg.wasm`, its JavaScript and its types.
//!
//! A package of its own, so that only `cargo xtask web` compiles wasm-bindgen's tools.

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let (Some(wasm), Some(out), Some(name)) = (words.next(), words.next(), words.next()) else {
        anyhow::bail!("usage: bindgen IN.wasm OUT-FOLDER NAME");
    };
    let name = name.to_string_lossy();
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name(&name)
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        // `await init()` without an argument finds the .wasm beside the script.
        .omit_default_module_path(false);
    bindgen.web(true)?;
    bindgen.generate(out)
}
