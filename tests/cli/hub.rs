//! Models and data sets by name, from a local HTTP server that stands in for the hub.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::program::{Done, Place};
use crate::tiny;

type Files = BTreeMap<String, Vec<u8>>;

/// Files by kind, name and revision of their repository: `models/tiny/model/main`.
type Repositories = BTreeMap<String, Files>;

/// Serves repositories as the hub does; remembers what was asked with which token.
struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// One model, `tiny/model`.
    fn start(files: Files, token: Option<&'static str>) -> Hub {
        Hub::serve([("models/tiny/model/main".to_owned(), files)].into(), token)
    }

    fn serve(files: Repositories, token: Option<&'static str>) -> Hub {
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
    repositories: &Repositories,
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
    if let Some(repository) = path.strip_prefix("/api/") {
        let Some(files) = repositories.get(&repository.replace("/revision/", "/")) else {
            return send("404 Not Found", "", b"");
        };
        let names: Vec<_> =
            files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"sha": "abc123", "siblings": names}).to_string();
        return send("200 OK", "content-type: application/json\r\n", body.as_bytes());
    }
    let file = path.split_once("/resolve/").and_then(|(repository, rest)| {
        let kind = if repository.starts_with("/datasets/") { "" } else { "models" };
        let repository = format!("{kind}{repository}");
        let (revision, name) = rest.split_once('/')?;
        repositories
            .get(&format!("{}/{revision}", repository.trim_start_matches('/')))?
            .get_key_value(name)
    });
    let Some((name, body)) = file else { return send("404 Not Found", "", b"") };
    let etag = format!("etag: \"{}-1\"\r\n", name.replace('/', "-"));
    match range {
        None => send("200 OK", &etag, body),
        Some((from, to)) => {
            let to = to.unwrap_or(usize::MAX).min(body.len() - 1);
            let extra = format!("{etag}content-range: bytes {from}-{to}/{}\r\n", body.len());
            send("206 Partial Content", &extra, &body[from..=to])
        }
    }
}

fn files(place: &Place) -> Files {
    let entries = std::fs::read_dir(place.path("model")).unwrap().flatten();
    let mut files: Files = entries
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.insert("pytorch_model.bin".into(), vec![0; 10]);
    files
}

/// The program against this hub, with nothing of the user's.
fn at(place: &Place, endpoint: &str, mut command: Command, more: &[(&str, &str)]) -> Done {
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("hub"));
    for variable in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
    {
        command.env_remove(variable);
    }
    command.envs(more.iter().copied());
    Done::of(command.output().unwrap())
}

fn logits(place: &Place, endpoint: &str, model: &str, more: &[(&str, &str)]) -> Done {
    let command = place.command(&["logits", "--json", "--model", model, "--ids", "1,2,3"]);
    at(place, endpoint, command, more)
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

#[test]
fn data_sets_are_read_from_their_parquet_files() {
    let place = Place::new();
    let table = |name: &str| std::fs::read(tiny::fixture("data").join(name)).unwrap();
    let one = |name: &str, file: &str| -> Files { [(name.to_owned(), table(file))].into() };
    let mut usual = one("data/train-00000-of-00001.parquet", "rows.parquet");
    usual.extend(one("data/validation-00000-of-00001.parquet", "rows.zstd.parquet"));
    usual.insert("README.md".into(), b"rows".to_vec());
    let mut subsets = one("main/train-00000-of-00001.parquet", "rows.parquet");
    subsets.extend(one("other/train-00000-of-00001.parquet", "chats.parquet"));
    let converted = one("default/train/0000.parquet", "rows.gzip.parquet");
    let lines: Files = [("rows.jsonl".to_owned(), b"{}".to_vec())].into();
    let hub = Hub::serve(
        [
            ("datasets/tiny/rows/main".to_owned(), usual),
            ("datasets/tiny/subsets/main".to_owned(), subsets),
            ("datasets/tiny/lines/main".to_owned(), lines.clone()),
            ("datasets/tiny/lines/refs%2Fconvert%2Fparquet".to_owned(), converted),
            ("datasets/tiny/bare/main".to_owned(), lines),
        ]
        .into(),
        None,
    );
    let train = |out: &str, data: &str, more: &str, variables: &[(&str, &str)]| {
        let typed = place.train(out, &format!("--max-steps 2 {more}"));
        let typed = typed.get_args().map(|arg| arg.to_str().unwrap());
        let args = Vec::from_iter(typed.map(|arg| if arg == "train.jsonl" { data } else { arg }));
        at(&place, &hub.address, place.command(&args), variables)
    };
    let adapter = |out: &str| place.bytes(&format!("{out}/adapter/adapter_model.safetensors"));
    Done::of(place.train("local", "--max-steps 2").output().unwrap()).lines();
    let done = train("one", "tiny/rows", "--eval-data tiny/rows", &[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("eval_loss"), "{}", done.out);
    let asked = hub.asked();
    let fetched = |asked: &[String]| asked.iter().filter(|path| path.contains("/resolve/")).count();
    assert!(!asked.iter().any(|path| path.contains("README")), "{asked:?}");
    for (out, data) in
        [("two", "tiny/rows:train"), ("three", "tiny/subsets/main"), ("four", "tiny/lines")]
    {
        train(out, data, "", &[]).lines();
    }
    let again = hub.asked();
    let rows = |asked: &[String]| {
        fetched(&Vec::from_iter(asked.iter().filter(|path| path.contains("/rows/")).cloned()))
    };
    assert_eq!(rows(&again), rows(&asked), "what is in the cache is not fetched again");
    train("five", "tiny/rows", "--eval-data tiny/rows", &[("HF_HUB_OFFLINE", "1")]).lines();
    train("six", "tiny/lines", "", &[("HF_ENDPOINT", "http://127.0.0.1:9")]).lines();
    for out in ["one", "two", "three", "four", "five", "six"] {
        assert!(adapter(out) == adapter("local"), "{out}");
    }
    // A run knows its data by name.
    assert!(place.read("one/run.toml").contains("data = [\"tiny/rows\"]"));
    train("x", "tiny/subsets", "", &[]).fails_saying(&["main, other", "tiny/subsets/main"]);
    train("x", "tiny/rows:dev", "", &[]).fails_saying(&["no split `dev`", "train, validation"]);
    train("x", "tiny/lines", "--eval-data tiny/lines", &[]).fails_saying(&["tiny/lines:train"]);
    train("x", "tiny/bare", "", &[]).fails_saying(&["no Parquet files"]);
    train("x", "tiny/none", "", &[]).fails_saying(&["no data set of this name, and no such file"]);
    train("x", "tiny/none.jsonl", "", &[]).fails_saying(&["tiny/none.jsonl", "No such file"]);
    let offline = [("HF_HUB_OFFLINE", "1")];
    train("x", "tiny/none", "", &offline).fails_saying(&["tiny/none", "HF_HUB_OFFLINE"]);
}
