//! What is in a GGUF file: `cargo run --release --example read_gguf [FILE.gguf]`. Needs no device;
//! without a file it reads one that it makes of the embedded model.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use wgpu_lora::export::export_gguf;
use wgpu_lora::format::GgufFile;
use wgpu_lora::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = match std::env::args().nth(1) {
        Some(path) => path,
        None => {
            let path = "target/example.gguf".to_owned();
            std::fs::create_dir_all("target")?;
            export_gguf(&ModelFiles::open("assets/model")?, None, &path, &mut |_, _| {})?;
            path
        }
    };
    let file = GgufFile::open_path(&path)?;
    for (key, value) in file.metadata() {
        println!("{key}: {:.60}", format!("{value:?}"));
    }
    for (name, tensor) in file.tensors() {
        println!("{name} {:?} {:?}", tensor.kind, tensor.shape);
    }
    // The same as a checkpoint, under Hugging Face's names.
    let files = ModelFiles::open(&path)?;
    println!("{:?}", files.config);
    let norm = files.checkpoint.read_f32("model.norm.weight", 0..4)?;
    println!("the final norm begins with {norm:?}");
    println!(
        "tokens of a text: {:?}",
        files.tokenizer()?.encode("The sky is blue.", Special::With)?
    );
    Ok(())
}
