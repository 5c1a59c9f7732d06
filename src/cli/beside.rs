//! What lies beside an adapter that prices: the index of neighbours, and how it prices.

use std::path::Path;

use anyhow::Result;

use super::printer::Printer;
use crate::Error;
use crate::format::write_atomic;
use crate::pricer::blend::{PRICER_FILE, Pricing};
use crate::pricer::neighbours::{INDEX_FILE, NeighbourIndex, NeighbourSettings};

/// A file's bytes, if it is there.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Error::io(path)(why).into()),
    }
}

/// How the adapter in a folder prices; the default where nothing is said.
pub(super) fn pricing(folder: &Path) -> Result<Pricing> {
    let path = folder.join(PRICER_FILE);
    Ok(match bytes(&path)? {
        Some(text) => {
            Pricing::from_json(&path.display().to_string(), &String::from_utf8_lossy(&text))?
        }
        None => Pricing::default(),
    })
}

/// Writes how it prices.
pub(super) fn write_pricing(folder: &Path, pricing: &Pricing) -> Result<()> {
    let path = folder.join(PRICER_FILE);
    Ok(write_atomic(&path, |file| {
        std::io::Write::write_all(file, pricing.to_json().as_bytes()).map_err(Error::io(&path))
    })?)
}

/// The index in a folder, as it is.
pub(super) fn index_bytes(folder: &Path) -> Result<Option<Vec<u8>>> {
    bytes(&folder.join(INDEX_FILE))
}

/// Settings and number of products of the index in a folder.
pub(super) fn index_settings(folder: &Path) -> Result<Option<(NeighbourSettings, usize)>> {
    let Some(bytes) = index_bytes(folder)? else { return Ok(None) };
    let name = folder.join(INDEX_FILE).display().to_string();
    let (settings, known) = NeighbourIndex::read(&name, &bytes)?;
    Ok(Some((settings, known.len())))
}

/// The index beside an adapter. Warns where the adapter was trained on neighbours and has none.
pub(super) fn index(
    printer: &Printer,
    folder: &Path,
    pricing: &Pricing,
) -> Result<Option<NeighbourIndex>> {
    let path = folder.join(INDEX_FILE);
    match (index_bytes(folder)?, pricing.neighbours) {
        (Some(bytes), _) => {
            Ok(Some(NeighbourIndex::from_bytes(&path.display().to_string(), &bytes)?))
        }
        (None, Some(k)) => {
            printer.warn(format!(
                "the adapter was trained on prompts with {k} similar products each, and {} is missing: its guesses \
                 will be worse. Copy the file from where the adapter was trained, or from the prepared data",
                path.display()
            ));
            Ok(None)
        }
        (None, None) => Ok(None),
    }
}

/// Copies what lies beside an adapter to another folder; says what that is.
pub(super) fn copy(printer: &Printer, from: &Path, to: &Path) -> Result<()> {
    for name in [INDEX_FILE, PRICER_FILE] {
        if let Some(bytes) = bytes(&from.join(name))? {
            let path = to.join(name);
            write_atomic(&path, |file| {
                std::io::Write::write_all(file, &bytes).map_err(Error::io(&path))
            })?;
            printer.note(format!("{name} copied to {}", to.display()));
        }
    }
    Ok(())
}

/// Says what of it a file that holds weights alone leaves behind.
pub(super) fn say_lost(printer: &Printer, adapter: &Path) {
    for (name, what) in [
        (INDEX_FILE, "the similar products that its prompts name"),
        (PRICER_FILE, "its temperature and blend"),
    ] {
        if adapter.join(name).exists() {
            printer
                .warn(format!("a GGUF file has no place for {what}: keep {name} of the adapter"));
        }
    }
}
