//! What lies beside an adapter that prices: the index of neighbours, how it prices, and the words
//! of its training texts.

use std::path::Path;

use anyhow::Result;

use super::printer::Printer;
use super::session::Session;
use crate::Error;
use crate::format::write_atomic;
use crate::pricer::beside::Beside;
use crate::pricer::blend::{PRICER_FILE, Pricing};
use crate::pricer::familiar::{Familiar, TEXTS_FILE};
use crate::pricer::neighbours::{INDEX_FILE, NeighbourIndex, NeighbourSettings};
use crate::random::Fnv;
use crate::train::ranks::agree;

/// The files beside an adapter.
const FILES: [&str; 3] = [INDEX_FILE, PRICER_FILE, TEXTS_FILE];

/// A file's bytes, if it is there.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Error::io(path)(why).into()),
    }
}

/// What lies beside the adapter in a folder. Warns where it was trained on neighbours and has none.
///
/// **Errors** also where ranks have not the same.
pub(super) fn read(session: &Session, folder: &Path) -> Result<Beside> {
    let printer = &session.printer;
    if session.ranks.size() > 1 {
        let hash = |name: &str| {
            let hash = bytes(&folder.join(name))?.map(|bytes| format!("{:016x}", Fnv::of(&bytes)));
            Ok((name.to_owned(), hash.unwrap_or_else(|| "none".to_owned())))
        };
        let facts = FILES.into_iter().map(hash).collect::<Result<_>>()?;
        agree(&*session.ranks, "", &facts, "give all hosts the same files beside the adapter")?;
    }
    let (pricing, index) = (bytes(&folder.join(PRICER_FILE))?, index_bytes(folder)?);
    let name = folder.display().to_string();
    let mut beside = Beside::from_bytes(&name, pricing.as_deref(), index.as_deref())?;
    let texts = folder.join(TEXTS_FILE);
    let read = |bytes: Vec<u8>| Familiar::from_json(&texts.display().to_string(), &bytes);
    beside.texts = bytes(&texts)?.map(read).transpose()?;
    if let Some(missing) = beside.without_index() {
        printer.warn(format!("{name}: {missing}"));
    }
    Ok(beside)
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

/// Copies what lies beside an adapter to another folder; says what that is.
pub(super) fn copy(printer: &Printer, from: &Path, to: &Path) -> Result<()> {
    for name in FILES {
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
        (TEXTS_FILE, "the words of its training texts, by which foreign ones are warned of"),
    ] {
        if adapter.join(name).exists() {
            printer
                .warn(format!("a GGUF file has no place for {what}: keep {name} of the adapter"));
        }
    }
}
