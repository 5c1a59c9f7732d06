//! `chat`: a conversation in the terminal, or lines from a pipe, answered one by one.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::json;

use super::args::ModelArgs;
use super::asking::{AdapterArgs, SamplingArgs};
use super::session::{Session, cache_folder};
use crate::Error;
use crate::format::{RowFormat, Tokenizer};
use crate::generate::{ChatSession, Finish, GenerateOptions};
use crate::model::Model;

/// Tokens of a conversation where nothing else is said.
const MAX_LENGTH: usize = 4096;

const HELP: &str = "\
/adapter NAME   answer with this adapter, or with `none`; without NAME: which there are
/system TEXT    set the system prompt; without TEXT: show it, `/system none` removes it
/reset          forget what was said
/help           this
/quit           end (or Ctrl-D); Ctrl-C stops an answer
//…             a message that begins with a /";

#[derive(Debug, Args)]
pub(super) struct ChatArgs {
    #[command(flatten)]
    adapters: AdapterArgs,
    /// A system prompt.
    #[arg(long, alias = "system-prompt", value_name = "TEXT")]
    system: Option<String>,
    /// Tokens of the conversation, at most; then the oldest turns are forgotten [default: 4096, or
    /// what the model can hold].
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    model: ModelArgs,
}

pub(super) async fn run(session: &Session, args: &ChatArgs) -> Result<()> {
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let most = files.config.max_position_embeddings;
    let positions = args.max_length.unwrap_or(MAX_LENGTH.min(most));
    // An answer leaves half of the room to what was said before.
    let options = args.sampling.options(args.sampling.max_new_tokens(positions / 2))?;
    let gpu = session.gpu(args.model.inspect, None).await?;
    let mut model = session.model(&gpu, &files, &args.model, positions).await?;
    args.adapters.attach(session, &mut model).await?;
    let mut chat = ChatSession::new(&model, &tokenizer)?;
    say_how_it_asks(session, args.adapters.note()?.and_then(|note| note.rows));
    chat.set_system(args.system.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // Fails only if there is a handler already; then Ctrl-C just ends the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, flag);
    let mut talk = Talk { session, model, tokenizer, chat, options, stop };
    let mut lines = Lines::open(session)?;
    while let Some(line) = lines.next()? {
        match line.trim() {
            "" => {}
            "/quit" | "/exit" => break,
            line => match talk.line(line).await {
                // A message that cannot be answered ends a pipe, not a conversation.
                Err(error) if lines.is_terminal() => session.printer.warn(format!("{error:#}")),
                said => said?,
            },
        }
    }
    session.finish_profile(&gpu, args.model.inspect);
    Ok(())
}

/// A conversation always goes by the chat template; not every adapter was trained on some.
fn say_how_it_asks(session: &Session, trained: Option<RowFormat>) {
    if let Some(rows) = trained {
        let name = rows.name();
        match rows {
            RowFormat::Messages => session.printer.note(format!(
                "prompt: messages, by the chat template (the adapter was trained on {name})"
            )),
            _ => session.printer.warn(format!(
                "prompt: messages, by the chat template, although the adapter was trained on {name}; `generate` asks \
                 as it was trained"
            )),
        }
    }
}

/// Where lines come from.
enum Lines {
    /// An editor with a history, kept in a file.
    Terminal(Box<DefaultEditor>, Option<PathBuf>),
    Pipe(std::io::Lines<std::io::StdinLock<'static>>),
}

impl Lines {
    fn open(session: &Session) -> Result<Lines> {
        if !std::io::stdin().is_terminal() {
            return Ok(Lines::Pipe(std::io::stdin().lines()));
        }
        session.printer.note("/help shows what can be asked of the program; Ctrl-D ends");
        let mut editor = DefaultEditor::new().context("the terminal")?;
        let history = cache_folder().map(|folder| folder.join("chat_history"));
        if let Some(path) = &history {
            // There is none in the first chat.
            let _ = editor.load_history(path);
        }
        Ok(Lines::Terminal(Box::new(editor), history))
    }

    fn is_terminal(&self) -> bool {
        matches!(self, Lines::Terminal(..))
    }

    /// The next line; `None` at the end.
    fn next(&mut self) -> Result<Option<String>> {
        let (editor, history) = match self {
            Lines::Pipe(lines) => {
                return lines.next().transpose().context("reading a line from stdin");
            }
            Lines::Terminal(editor, history) => (editor, history),
        };
        loop {
            match editor.readline("> ") {
                Ok(line) => {
                    // A history that cannot be kept spoils no chat.
                    let _ = editor.add_history_entry(line.as_str());
                    let _ = history.as_ref().map(|path| editor.append_history(path));
                    return Ok(Some(line));
                }
                // A line that is not wanted, not the end.
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(error).context("the terminal"),
            }
        }
    }
}

/// A conversation and what it is held with.
struct Talk<'s> {
    session: &'s Session,
    model: Model,
    tokenizer: Tokenizer,
    chat: ChatSession,
    options: GenerateOptions,
    /// Ctrl-C was pressed.
    stop: Arc<AtomicBool>,
}

impl Talk<'_> {
    /// A message, or a command to the program.
    async fn line(&mut self, line: &str) -> Result<()> {
        let printer = &self.session.printer;
        let Some(command) = line.strip_prefix('/') else { return self.answer(line).await };
        if command.starts_with('/') {
            return self.answer(command).await;
        }
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("help", _) => printer.note(HELP),
            ("reset", _) => {
                self.chat.reset();
                printer.note("forgotten what was said");
            }
            ("system", "") => {
                printer.note(format!("system prompt: {}", self.chat.system().unwrap_or("none")));
            }
            ("system", text) => {
                self.chat.set_system((text != "none").then(|| text.to_owned()));
                printer.note("set; what was said is read anew with the next message");
            }
            ("adapter", "") => {
                let names = Vec::from_iter(self.model.adapter_names()).join(", ");
                let active = self.model.active_adapter_name().unwrap_or("none");
                printer.note(match names.as_str() {
                    "" => "no adapter was given (--adapter)".into(),
                    names => format!("adapter: {active}; there are {names}, and none"),
                });
            }
            ("adapter", name) => {
                self.model.set_adapter((name != "none").then_some(name))?;
                printer.note(format!("adapter: {name}; what was said is read anew"));
            }
            (name, _) => {
                let why = "is no command here; /help shows all, //… is a message";
                return Err(Error::invalid(format!("/{name}"), why).into());
            }
        }
        Ok(())
    }

    async fn answer(&mut self, text: &str) -> Result<()> {
        let printer = &self.session.printer;
        self.stop.store(false, Ordering::SeqCst);
        let options = self.options.clone();
        let mut turn = self.chat.ask(&self.model, &self.tokenizer, text, options)?;
        if turn.turns_dropped() > 0 {
            printer.note(format!(
                "the oldest {} turn(s) are forgotten: the conversation has room for {} tokens (--max-length)",
                turn.turns_dropped(),
                self.model.max_positions()
            ));
        }
        while !self.stop.load(Ordering::SeqCst)
            && let Some(token) = turn.next().await?
        {
            printer.text(&token.text)?;
        }
        printer.text("\n")?;
        let timings = turn.timings();
        let finish = turn.finish().map_or("stopped", Finish::name);
        match turn.finish() {
            None => printer.note("stopped"),
            Some(Finish::Length) => printer.note("cut: --max-new-tokens, or no room is left"),
            Some(_) if turn.text().trim().is_empty() => {
                printer.warn("nothing came: the model ended its answer at once");
            }
            Some(_) => {}
        }
        printer.object(&json!({
            "text": turn.text(),
            "tokens": turn.ids().len(),
            "finish": finish,
            "adapter": self.model.active_adapter_name(),
            "prompt_tokens": turn.prompt_tokens(),
            "computed_tokens": turn.computed_tokens(),
            "turns_dropped": turn.turns_dropped(),
            "prefill_seconds": timings.prefill_seconds,
            "decode_tokens_per_second": timings.decode_tokens_per_second(),
        }))
    }
}
