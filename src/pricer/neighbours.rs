//! What similar products cost: an index of the training rows, asked for the nearest of a text.
//!
//! A product is never its own neighbour: rows that say the same in other white space, case or
//! punctuation, or have the same title, or are the same text cut elsewhere, are left out whoever
//! asks. So a training row cannot find its own price, and no test row one that belongs to it.

use std::io::{BufRead, BufReader, Read, Write};

use serde::{Deserialize, Serialize};

use super::baselines::words::{Weighting, Words};
use super::metrics::median;
use super::prompt::{self, Spelling};
use crate::format::Tokenizer;
use crate::{Error, Result};

/// The index's file, beside prepared rows and adapters.
pub const INDEX_FILE: &str = "neighbours.jsonl.gz";

/// Version of the file.
const VERSION: u32 = 1;

/// How neighbours stand in prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourSettings {
    /// Neighbours of each product, K.
    pub neighbours: usize,
    /// Tokens of each neighbour's price and title.
    pub neighbour_tokens: usize,
    /// Tokens of a summary that are kept.
    pub cutoff: usize,
    /// Tokens of the longest prepared row.
    pub longest_row: usize,
}

/// The first line of the file: its version, and [`NeighbourSettings`] beside it.
#[derive(Serialize)]
struct Header {
    version: u32,
    #[serde(flatten)]
    settings: NeighbourSettings,
}

/// The version alone.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// A product whose price is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Its summary.
    pub text: String,
    /// In dollars.
    pub price: f64,
}

/// Training products by their words: `TfidfVectorizer`'s weights, cosine of the angle.
#[derive(Clone, Debug)]
pub struct NeighbourIndex {
    settings: NeighbourSettings,
    known: Vec<Known>,
    words: Words,
    /// Of each word: products and weights.
    postings: Vec<Vec<(u32, f64)>>,
}

/// The words of a text, whatever stands between them.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    Vec::from_iter(words).join(" ").to_lowercase()
}

/// What stands behind `Title:`, in whatever case, or the first line.
pub fn title(text: &str) -> &str {
    let titled = text.lines().find_map(|line| {
        let (name, title) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("title").then_some(title.trim())
    });
    titled.or(text.lines().next()).unwrap_or("")
}

/// Whether two texts are of the same product: the same title, or one text begins like the other.
fn same_product(a: &str, b: &str) -> bool {
    let (title_a, title_b) = (plain(title(a)), plain(title(b)));
    let (a, b) = (plain(a), plain(b));
    title_a == title_b || a.starts_with(&b) || b.starts_with(&a)
}

impl NeighbourIndex {
    /// Of these training products.
    pub fn new(settings: NeighbourSettings, known: Vec<Known>) -> NeighbourIndex {
        let texts: Vec<&str> = known.iter().map(|known| known.text.as_str()).collect();
        let (words, matrix) = Words::fit(&texts, Weighting::Tfidf);
        let mut postings = vec![Vec::new(); matrix.columns];
        for (row, columns) in (0..).zip(&matrix.rows) {
            columns
                .iter()
                .for_each(|(column, value)| postings[*column as usize].push((row, *value)));
        }
        NeighbourIndex { settings, known, words, postings }
    }

    /// How neighbours stand in prompts.
    pub fn settings(&self) -> &NeighbourSettings {
        &self.settings
    }

    /// The same index for rows of which the longest has so many tokens.
    pub fn with_longest_row(mut self, tokens: usize) -> NeighbourIndex {
        self.settings.longest_row = tokens;
        self
    }

    /// The training products.
    pub fn known(&self) -> &[Known] {
        &self.known
    }

    /// The K most similar products, the most similar first; of equals the one that came first.
    /// Fewer where no others share a word. Never the product itself nor its duplicates.
    pub fn nearest(&self, text: &str) -> Vec<&Known> {
        let mut scores = vec![0.0; self.known.len()];
        for (column, weight) in self.words.transform(&[text]).rows.iter().flatten() {
            for (row, value) in &self.postings[*column as usize] {
                scores[*row as usize] += weight * value;
            }
        }
        let mut order: Vec<usize> = (0..scores.len()).filter(|&row| scores[row] > 0.0).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        let others = order.into_iter().map(|row| &self.known[row]);
        others
            .filter(|other| !same_product(text, &other.text))
            .take(self.settings.neighbours)
            .collect()
    }

    /// The nearest products' median price; of all prices, if there is none.
    pub fn median(&self, text: &str) -> f64 {
        let nearest = self.nearest(text);
        match nearest.is_empty() {
            true => median(self.known.iter().map(|known| known.price)),
            false => median(nearest.into_iter().map(|known| known.price)),
        }
    }

    /// The prompt of a summary with its neighbours: a line `$12: title` for each, cut to the
    /// settings' tokens. **Errors** those of the tokenizer.
    pub fn prompt(&self, tokenizer: &Tokenizer, summary: &str) -> Result<String> {
        let line = |known: &Known| -> Result<String> {
            let price = prompt::completion(known.price, Spelling::Integer);
            let line = format!("${price}: {}", title(&known.text));
            Ok(prompt::cut(tokenizer, &line, self.settings.neighbour_tokens)?.0)
        };
        let lines = self.nearest(summary).into_iter().map(line).collect::<Result<Vec<_>>>()?;
        Ok(prompt::prompt_with_neighbours(summary, &lines))
    }

    /// The file: gzip of a JSON line with version and settings, and one for each product.
    ///
    /// **Errors** [`Error::Invalid`] if JSON cannot say it.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let write = || -> std::io::Result<Vec<u8>> {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            let header = Header { version: VERSION, settings: self.settings };
            writeln!(out, "{}", serde_json::to_string(&header)?)?;
            for known in &self.known {
                writeln!(out, "{}", serde_json::to_string(known)?)?;
            }
            out.finish()
        };
        write().map_err(|why| Error::invalid(INDEX_FILE, why))
    }

    /// Settings of an index and the number of its products, without building it; `name` stands for
    /// the file in messages.
    ///
    /// **Errors** [`Error::Format`] for what is no such file, or one of a later version.
    pub fn read(name: &str, bytes: &[u8]) -> Result<(NeighbourSettings, Vec<Known>)> {
        let bad = |line: usize, why: String| Error::format(name, format!("line {line}"), why);
        let text: Box<dyn Read> = Box::new(flate2::read::GzDecoder::new(bytes));
        let mut lines = BufReader::new(text).lines().zip(1..);
        let (first, _) = lines.next().ok_or_else(|| bad(1, "the file is empty".into()))?;
        let first = first.map_err(|e| bad(1, e.to_string()))?;
        let Version { version } =
            serde_json::from_str(&first).map_err(|e| bad(1, e.to_string()))?;
        if version != VERSION {
            let why = format!("is of version {version}; this program reads {VERSION}");
            return Err(bad(1, why));
        }
        let settings = serde_json::from_str(&first).map_err(|e| bad(1, e.to_string()))?;
        let known = lines.map(|(text, line)| {
            let text = text.map_err(|e| bad(line, e.to_string()))?;
            serde_json::from_str(&text).map_err(|e| bad(line, e.to_string()))
        });
        Ok((settings, known.collect::<Result<Vec<Known>>>()?))
    }

    /// From the file's bytes. **Errors** as [`NeighbourIndex::read`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<NeighbourIndex> {
        let (settings, known) = NeighbourIndex::read(name, bytes)?;
        Ok(NeighbourIndex::new(settings, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: NeighbourSettings =
        NeighbourSettings { neighbours: 3, neighbour_tokens: 16, cutoff: 110, longest_row: 200 };

    fn index(texts: &[&str]) -> NeighbourIndex {
        let known =
            |(i, text): (usize, &&str)| Known { text: (*text).into(), price: 10.0 + i as f64 };
        NeighbourIndex::new(SETTINGS, texts.iter().enumerate().map(known).collect())
    }

    fn prices(index: &NeighbourIndex, text: &str) -> Vec<f64> {
        index.nearest(text).iter().map(|known| known.price).collect()
    }

    #[test]
    fn the_nearest_come_first_and_nothing_in_common_is_none() {
        let index = index(&[
            "Title: red desk lamp\nBrand: Acme",
            "Title: blue desk lamp\nBrand: Acme",
            "Title: cordless drill\nBrand: Bolt",
            "Title: drill bits\nBrand: Bolt",
        ]);
        assert_eq!(prices(&index, "Title: green desk lamp\nBrand: Acme")[..2], [10.0, 11.0]);
        assert_eq!(prices(&index, "Title: hammer drill\nBrand: Bolt")[0], 12.0);
        assert!(prices(&index, "xyz").is_empty());
        assert_eq!(index.median("xyz"), 11.5);
    }

    /// Every way in which a row's own price might come back to it.
    #[test]
    fn no_row_finds_itself_or_its_duplicates() {
        let own = "Title: Steel Kettle, 2 Litres\nBrand: Acme\nDescription: Boils water quickly";
        let same = [
            own,
            "title: steel kettle, 2 litres\nbrand: acme\ndescription: boils water quickly",
            "Title:  Steel  Kettle,\t2 Litres \nBrand: Acme\nDescription: Boils  water quickly",
            "TITLE: STEEL KETTLE 2 LITRES\nBRAND: ACME\nDESCRIPTION: BOILS WATER QUICKLY",
            // Cut elsewhere.
            "Title: Steel Kettle, 2 Litres\nBrand: Acme\nDescription: Boils",
            // The same title with another description.
            "Title: steel kettle 2 litres\nBrand: Other\nDescription: For tea",
        ];
        let other = "Title: Steel Kettle, 3 Litres\nBrand: Acme\nDescription: Boils water quickly";
        let mut texts = same.to_vec();
        texts.extend([other, "Title: Copper kettle\nBrand: Acme"]);
        let index = index(&texts);
        for text in same {
            let found = prices(&index, text);
            assert!(found.iter().all(|price| *price >= 16.0), "{text}: {found:?}");
            assert_eq!(found[0], 16.0);
        }
    }

    #[test]
    fn the_file_gives_the_same_index() {
        let before = index(&["Title: red lamp", "Title: blue lamp"]);
        let bytes = before.to_bytes().unwrap();
        let after = NeighbourIndex::from_bytes("n", &bytes).unwrap();
        assert_eq!((after.settings, &after.known), (before.settings, &before.known));
        assert_eq!(prices(&after, "Title: green lamp"), prices(&before, "Title: green lamp"));
        assert!(NeighbourIndex::from_bytes("n", b"no gzip").is_err());
        let mut later = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let header = Header { version: 2, settings: SETTINGS };
        later.write_all(serde_json::to_string(&header).unwrap().as_bytes()).unwrap();
        let why = NeighbourIndex::from_bytes("n", &later.finish().unwrap()).unwrap_err();
        assert!(why.to_string().contains("version 2"), "{why}");
    }
}
