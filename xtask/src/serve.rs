//! A web server for one folder on this machine: GET and HEAD, with ranges, and the page's security
//! policy as a header.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// Serves `folder` until it is killed; takes the next free port from `port` on.
pub fn forever(folder: &Path, port: u16) -> Result<()> {
    let listener = (port..port.saturating_add(20))
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .with_context(|| format!("no free port from {port} on"))?;
    println!("web: http://{} (stop with Ctrl-C)", listener.local_addr()?);
    for stream in listener.incoming().flatten() {
        let folder = folder.to_path_buf();
        std::thread::spawn(move || {
            // A browser that hangs up is no error of ours.
            let _ = answer(&stream, &folder);
        });
    }
    bail!("the listener ended")
}

fn answer(mut stream: &TcpStream, folder: &Path) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut range = None;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                    range = Some(value.trim().to_owned());
                }
                Some(_) => {}
            }
        }
        let mut words = first.split_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
        let file = (method == "GET" || method == "HEAD").then(|| find(folder, target)).flatten();
        let Some(path) = file else {
            let text = "not found\n";
            write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )?;
            continue;
        };
        let mut file = fs::File::open(&path)?;
        let size = file.metadata()?.len();
        let part = range.as_deref().and_then(|range| parse_range(range, size));
        let (status, bytes) = match &part {
            Some(part) => ("206 Partial Content", part.clone()),
            None => ("200 OK", 0..size),
        };
        let length = bytes.end - bytes.start;
        write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {}\r\n", kind(&path))?;
        write!(
            stream,
            "Content-Length: {length}\r\nAccept-Ranges: bytes\r\nCache-Control: no-cache\r\n"
        )?;
        if part.is_some() {
            write!(stream, "Content-Range: bytes {}-{}/{size}\r\n", bytes.start, bytes.end - 1)?;
        }
        write!(stream, "\r\n")?;
        if method == "GET" {
            file.seek(SeekFrom::Start(bytes.start))?;
            std::io::copy(&mut file.take(length), &mut stream)?;
        }
    }
}

/// The file of a request, inside the folder and nowhere else.
fn find(folder: &Path, target: &str) -> Option<PathBuf> {
    let path = target.split(['?', '#']).next().unwrap_or("/").trim_start_matches('/');
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let file = folder.join(path);
    (plain && file.is_file()).then_some(file)
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n`.
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => from..(to + 1).min(size),
        (Ok(from), Err(_)) => from..size,
        (Err(_), Ok(last)) => size.saturating_sub(last)..size,
        (Err(_), Err(_)) => return None,
    };
    (range.start < range.end).then_some(range)
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "webmanifest") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        assert_eq!(parse_range("bytes=0-9", 100), Some(0..10));
        assert_eq!(parse_range("bytes=90-200", 100), Some(90..100));
        assert_eq!(parse_range("bytes=40-", 100), Some(40..100));
        assert_eq!(parse_range("bytes=-10", 100), Some(90..100));
        assert_eq!(parse_range("bytes=100-", 100), None);
        assert_eq!(parse_range("lines=1-2", 100), None);
    }

    #[test]
    fn nothing_outside_the_folder_is_found() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(find(folder, "/Cargo.toml?x=1").is_some());
        for outside in ["/../Cargo.toml", "//etc/passwd", "/src/../../Cargo.toml", "/src"] {
            assert!(find(folder, outside).is_none(), "{outside}");
        }
    }
}
