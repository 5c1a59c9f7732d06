//! A stage in a process of its own: what it says while it runs, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::line::Line;

/// Starts this program as `doctor` with these flags, hands over what it tells, and ends it after
/// `limit`.
///
/// **Errors** in words why it did not come to its end, with what it said last.
pub(super) fn run(
    flags: &[String],
    limit: Duration,
    each: &mut dyn FnMut(Line),
) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| format!("no program to start: {e}"))?;
    let mut command = Command::new(program);
    command.args(["--json", "doctor"]).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("did not start: {e}"))?;
    let deadline = Instant::now() + limit;
    let (tell, told) = channel();
    if let Some(out) = child.stdout.take() {
        listen(out, Said::Out, tell.clone());
    }
    if let Some(err) = child.stderr.take() {
        listen(err, Said::Err, tell);
    }
    let mut last = String::new();
    let status = loop {
        match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Said::Err(line)) if line.trim().is_empty() => {}
            Ok(Said::Err(line)) => last = line,
            Ok(Said::Out(line)) => match serde_json::from_str(&line) {
                Ok(line) => {
                    if let Line::Doing(what) = &line {
                        last.clone_from(what);
                    }
                    each(line);
                }
                Err(_) => last = line,
            },
            Err(RecvTimeoutError::Disconnected) => break ended(&mut child, deadline),
            Err(RecvTimeoutError::Timeout) => break None,
        }
    };
    let last = match last.strip_prefix("error: ") {
        Some(error) => error.to_owned(),
        None if last.is_empty() => "it said nothing".into(),
        None => format!("the last it said: {last}"),
    };
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) if status.code() == Some(1) => Err(last),
        Some(status) => Err(format!("crashed ({status}); {last}")),
        None => {
            // A driver may not let it go: it is not waited for without end.
            let _ = child.kill();
            ended(&mut child, Instant::now() + Duration::from_secs(5));
            Err(format!("hung: ended after {} s; {last}", limit.as_secs()))
        }
    }
}

enum Said {
    Out(String),
    Err(String),
}

/// Reads lines in a thread of its own until there are no more.
fn listen(from: impl Read + Send + 'static, said: fn(String) -> Said, tell: Sender<Said>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if tell.send(said(text)).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// How it ended, if it does until then.
fn ended(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().ok()? {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
