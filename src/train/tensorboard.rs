//! TensorBoard's event files: the numbers of `metrics.jsonl` as scalars.
//!
//! A record is its length (u64), a masked CRC-32C of the length, a protobuf `Event`, and a masked
//! CRC-32C of that; all little-endian. **Source** `tensorflow/core/lib/io/record_writer.h`,
//! `event.proto`, `summary.proto`.

use crate::train::durable;
use crate::{Error, Result};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The open event file of a run. There is one per run: on resume it is written anew from the lines
/// of `metrics.jsonl` that were kept, so that no step comes twice and no torn record stays.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
    /// Unix time of the run's second 0, as if it had never stopped.
    zero: f64,
    seconds: f64,
}

impl EventWriter {
    /// Replaces the event files in `folder` by one that holds the scalars of the lines in
    /// `metrics`.
    pub fn open(folder: &Path, metrics: &Path) -> Result<EventWriter> {
        durable::create_dir(folder)?;
        for path in durable::entries(folder)? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents")) {
                std::fs::remove_file(&path).map_err(Error::io(&path))?;
            }
        }
        let lines = std::io::BufReader::new(File::open(metrics).map_err(Error::io(metrics))?);
        let kept: Vec<Value> = lines
            .lines()
            .map_while(|l| l.ok())
            .filter_map(|l| serde_json::from_str(&l).ok())
            .collect();
        let spent = kept.iter().filter_map(|line| line["seconds"].as_f64()).fold(0.0, f64::max);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let zero = now - spent;
        let mut bytes = record(&event(zero, 0, &string(3, b"brain.Event:2")));
        let mut seconds = 0.0;
        for line in &kept {
            seconds = line["seconds"].as_f64().unwrap_or(seconds);
            bytes.extend(scalars(zero + seconds, line));
        }
        let path = folder.join(format!("events.out.tfevents.{:010}.wgpu-lora", now as u64));
        durable::write_file(&path, &bytes)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(EventWriter { file, path, zero, seconds })
    }

    /// Adds the numbers of a line of `metrics.jsonl`.
    pub fn append(&mut self, line: &Value) -> Result<()> {
        self.seconds = line["seconds"].as_f64().unwrap_or(self.seconds);
        let bytes = scalars(self.zero + self.seconds, line);
        // One call, so that TensorBoard, which may be reading, sees a whole record or none.
        self.file.write_all(&bytes).map_err(Error::io(&self.path))
    }
}

/// The record of a line: each finite number but `step` and `seconds`, under the Trainer's tags
/// (`train/loss`, `eval/loss`).
fn scalars(wall_time: f64, line: &Value) -> Vec<u8> {
    let mut summary = Vec::new();
    for (key, value) in line.as_object().into_iter().flatten() {
        let Some(number) = value.as_f64().filter(|_| key != "step" && key != "seconds") else {
            continue;
        };
        let tag = match key.strip_prefix("eval_") {
            Some(rest) => format!("eval/{rest}"),
            None => format!("train/{key}"),
        };
        let mut one = string(1, tag.as_bytes());
        one.push(2 << 3 | 5);
        one.extend((number as f32).to_le_bytes());
        summary.extend(string(1, &one));
    }
    if summary.is_empty() {
        return summary;
    }
    record(&event(wall_time, line["step"].as_u64().unwrap_or(0), &string(5, &summary)))
}

/// `Event { wall_time = 1, step = 2, … }`.
fn event(wall_time: f64, step: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![1 << 3 | 1];
    out.extend(wall_time.to_le_bytes());
    out.push(2 << 3);
    varint(step, &mut out);
    out.extend(rest);
    out
}

/// A length-delimited field: text, bytes, or a message.
fn string(field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked_crc(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
    out
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a record has some hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// (step, tag, value) of every scalar; checks every checksum.
    fn read(path: &Path) -> Vec<(u64, String, f32)> {
        let bytes = std::fs::read(path).unwrap();
        let mut out = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let word = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().unwrap());
            let length = word(at) as usize;
            assert_eq!(word(at + 8), masked_crc(&bytes[at..at + 8]));
            let data = &bytes[at + 12..at + 12 + length];
            assert_eq!(word(at + 12 + length), masked_crc(data));
            at += length + 16;
            // Behind the time: the step (one or two bytes here), then the summary's fields.
            let (step, mut rest) = match data[10] {
                low if low < 0x80 => (u64::from(low), &data[11..]),
                low => (u64::from(low & 0x7f) | u64::from(data[11]) << 7, &data[12..]),
            };
            if rest[0] == 3 << 3 | 2 {
                assert_eq!(&rest[2..], b"brain.Event:2");
                continue;
            }
            rest = &rest[if rest[1] < 0x80 { 2 } else { 3 }..];
            while !rest.is_empty() {
                let (value, length) = (&rest[2..], usize::from(rest[1]));
                let tag = &value[2..2 + usize::from(value[1])];
                let number = value[length - 4..length].try_into().unwrap();
                let tag = String::from_utf8(tag.to_vec()).unwrap();
                out.push((step, tag, f32::from_le_bytes(number)));
                rest = &value[length..];
            }
        }
        out
    }

    fn only_file(folder: &Path) -> PathBuf {
        let files = durable::entries(folder).unwrap();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    #[test]
    fn checksums_are_castagnolis() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn lines_become_scalars_and_a_reopened_file_has_each_step_once() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, metrics) =
            (temp.path().join("tensorboard"), temp.path().join("metrics.jsonl"));
        std::fs::write(&metrics, "").unwrap();
        let mut events = EventWriter::open(&folder, &metrics).unwrap();
        for step in [1, 2, 300] {
            events
                .append(&json!({"step": step, "loss": 2.5, "seconds": 1.0, "note": "x"}))
                .unwrap();
        }
        events.append(&json!({"step": 300, "eval_loss": 1.5, "lost": null})).unwrap();
        let wanted = |steps: &[u64]| -> Vec<_> {
            steps.iter().map(|&step| (step, "train/loss".to_owned(), 2.5)).collect()
        };
        let mut all = wanted(&[1, 2, 300]);
        all.push((300, "eval/loss".to_owned(), 1.5));
        assert_eq!(read(&only_file(&folder)), all);
        // Killed in the middle of a record; two lines were kept, and the beginning of a third.
        let file = only_file(&folder);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
        let line = "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.5}\n{\"step\":3,\"lo";
        std::fs::write(&metrics, line).unwrap();
        let mut events = EventWriter::open(&folder, &metrics).unwrap();
        events.append(&json!({"step": 3, "loss": 2.5})).unwrap();
        assert_eq!(read(&only_file(&folder)), wanted(&[1, 2, 3]));
    }
}
