//! Models by name, from a local HTTP server that stands in for the hub.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::program::{Done, Place};

/// Serves one repository, `tiny/model`, as the hub does; remembers what was asked with which token.
struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(files: BTreeMap<String, Vec<u8>>, token: Option<&'static str>) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (files, list) = (Arc::new(files), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, list) = (files.clone(), list.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while answer(&mut reader, &stream, &files, &list, token).is_some() {}
                });
            }
        });
        Hub { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    reader: &mut BufReader<TcpStream>,
    mut out: &TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    asked: &Mutex<Vec<String>>,
    token: Option<&str>,
) -> Option<()> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut range, mut authorized, mut length) = (None, token.is_none(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                range = Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()));
            }
            "authorization" => authorized |= token.is_some_and(|t| value == format!("Bearer {t}")),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    asked.lock().unwrap().push(path.clone());
    let mut send = |status: &str, extra: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nx-repo-commit: abc123\r\n{extra}\r\n",
            body.len()
        );
        out.write_all(head.as_bytes()).and_then(|()| out.write_all(body)).ok()
    };
    if !authorized {
        return send("401 Unauthorized", "", b"");
    }
    if path == "/api/models/tiny/model/revision/main" {
        let names: Vec<_> =
            files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"sha": "abc123", "siblings": names}).to_string();
        return send("200 OK", "content-type: application/json\r\n", body.as_bytes());
    }
    let file =
        path.strip_prefix("/tiny/model/resolve/main/").and_then(|name| files.get_key_value(name));
    let Some((name, body)) = file else { return send("404 Not Found", "", b"") };
    let etag = format!("etag: \"{name}-1\"\r\n");
    match range {
        None => send("200 OK", &etag, body),
        Some((from, to)) => {
            let to = to.unwrap_or(usize::MAX).min(body.len() - 1);
            let extra = format!("{etag}content-range: bytes {from}-{to}/{}\r\n", body.len());
            send("206 Partial Content", &extra, &body[from..=to])
        }
    }
}

fn files(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(place.path("model")).unwrap().flatten();
    let mut files: BTreeMap<String, Vec<u8>> = entries
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.insert("pytorch_model.bin".into(), vec![0; 10]);
    files
}

fn logits(place: &Place, endpoint: &str, model: &str, more: &[(&str, &str)]) -> Done {
    let mut command = place.command(&["logits", "--json", "--model", model, "--ids", "1,2,3"]);
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("hub"));
    for variable in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
    {
        command.env_remove(variable);
    }
    command.envs(more.iter().copied());
    Done::of(command.output().unwrap())
}

#[test]
fn a_model_is_downloaded_once_and_then_taken_from_the_cache() {
    let place = Place::new();
    let hub = Hub::start(files(&place), None);
    let local = place.run(&["logits", "--json", "--model", "model", "--ids", "1,2,3"]).lines();
    assert_eq!(logits(&place, &hub.address, "tiny/model", &[]).lines(), local);
    let asked = hub.asked();
    assert!(asked.iter().any(|path| path.ends_with("model.safetensors")), "{asked:?}");
    assert!(!asked.iter().any(|path| path.ends_with(".bin")), "{asked:?}");
    assert_eq!(logits(&place, &hub.address, "tiny/model", &[]).lines(), local);
    assert_eq!(hub.asked().len(), asked.len(), "the second time nobody is asked");
    // Without any network.
    let offline = logits(&place, "http://127.0.0.1:9", "tiny/model", &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(offline.lines(), local);
    let other = logits(&place, "http://127.0.0.1:9", "tiny/other", &[("HF_HUB_OFFLINE", "1")]);
    other.fails_saying(&["tiny/other", "HF_HUB_OFFLINE"]);
    let other = logits(&place, "http://127.0.0.1:9", "tiny/other", &[]);
    other.fails_saying(&["tiny/other", "connection"]);
}

#[test]
fn tokens_come_from_the_usual_places() {
    let place = Place::new();
    let hub = Hub::start(files(&place), Some("secret"));
    let none = logits(&place, &hub.address, "tiny/model", &[]);
    none.fails_saying(&["tiny/model", "licence", "HF_TOKEN"]);
    assert_eq!(logits(&place, &hub.address, "tiny/model", &[("HF_TOKEN", "secret")]).code, Some(0));
    let place = Place::new();
    std::fs::create_dir(place.path("hub")).unwrap();
    place.write("hub/token", "secret\n");
    assert_eq!(logits(&place, &hub.address, "tiny/model", &[]).code, Some(0));
    let missing = logits(&place, &hub.address, "tiny/other", &[("HF_TOKEN", "secret")]);
    missing.fails_saying(&["tiny/other", "no model of this name"]);
}
