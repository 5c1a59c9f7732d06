//! A conversation's tokens, and which of them the assistant says.
//!
//! Where a template marks the assistant's words (`{% generation %}`), the marks tell. Else a turn
//! is what the template writes for it: it begins where the conversation before it, asked to go on
//! (`add_generation_prompt`), and the whole part, and ends where the conversation up to it ends,
//! white space behind its end token apart. What a message says is not searched.
//!
//! **Source** transformers 5.24, `return_assistant_tokens_mask`; TRL 1.16, `assistant_only_loss`
//! and its conversational prompt and completion.

use std::ops::Range;

use serde_json::{Value, json};

use super::chat_row::Chat;
use super::encode::{Encode, Encoded, LossOn, Spans, common, to_u32};
use crate::format::{ChatTemplate, Conversation, Rendered};
use crate::{Error, Result};

/// A chat template, and whether it asks for the assistant's words at every text's end, told to or
/// not.
#[derive(Debug)]
pub(super) struct Template {
    template: ChatTemplate,
    asks_always: Option<bool>,
}

impl Template {
    pub(super) fn new(template: ChatTemplate) -> Template {
        Template { template, asks_always: None }
    }

    /// Tokens and targets of a conversation.
    ///
    /// **Errors** what the template says; [`Error::Invalid`] if its turns cannot be told apart, or
    /// nothing is the assistant's.
    pub(super) fn encode(
        &mut self,
        chat: &Chat,
        loss: LossOn,
        tokenizer: &(impl Encode + ?Sized),
    ) -> Result<Encoded> {
        let whole = self.render(chat, &chat.messages, false)?;
        let (ids, offsets) = tokenizer.encode_with_offsets(&whole.text)?;
        let end = ids.len();
        let asks_always = match self.asks_always {
            Some(always) => always,
            None => *self.asks_always.insert(self.ask(chat, &whole.text)?),
        };
        let written = Written {
            template: self,
            chat,
            text: &whole.text,
            ids: &ids,
            offsets: &offsets,
            asks_always,
            tokenizer,
        };
        let mut parted = false;
        let mut spans: Spans = match (loss, chat.prompt, &whole.generation) {
            (LossOn::All, ..) => vec![(0, to_u32(end))],
            (LossOn::Completion, Some(n), _) => {
                let before = self.render(chat, &chat.messages[..n], true)?.text;
                let from = written.parts(&before)?;
                parted = from.parted;
                vec![(to_u32(from.at), to_u32(end))]
            }
            (LossOn::Completion, None, Some(marks)) => marked(marks, &offsets),
            (LossOn::Completion, None, None) => return written.turns(),
        };
        for &i in chat.muted.iter().filter(|i| chat.messages[**i]["role"] == "assistant") {
            let turn = written.turn(i, end)?;
            spans = without(spans, to_u32(turn.start)..to_u32(turn.end));
        }
        if spans.is_empty() && chat.muted.is_empty() {
            let why =
                "no token of this conversation is marked as the assistant's by the chat template";
            return Err(Error::invalid("messages", why));
        }
        Ok(Encoded { ids, spans, parted, ended: true })
    }

    fn render(&self, chat: &Chat, messages: &[Value], ask: bool) -> Result<Rendered> {
        self.template.render(&Conversation {
            messages,
            tools: chat.tools.as_deref(),
            documents: chat.documents.as_deref(),
            add_generation_prompt: ask,
            variables: Some(&chat.variables),
        })
    }

    /// Whether the end of the text is a question for the assistant's words though nobody asked for
    /// one: it is the same if asked for, and another message is not written behind it.
    fn ask(&self, chat: &Chat, text: &str) -> Result<bool> {
        if self.render(chat, &chat.messages, true).is_ok_and(|asked| asked.text != text) {
            return Ok(false);
        }
        let role = match chat.messages.last() {
            Some(last) if last["role"] == "assistant" => "user",
            _ => "assistant",
        };
        let mut more = chat.messages.clone();
        more.push(json!({"role": role, "content": "?"}));
        Ok(self.render(chat, &more, false).is_ok_and(|more| !more.text.starts_with(text)))
    }
}

/// Tokens that overlap marked bytes, as transformers takes them.
fn marked(marks: &[Range<usize>], offsets: &[(usize, usize)]) -> Spans {
    let mut spans = Spans::new();
    let mut marks = marks.iter().peekable();
    for (i, &(start, end)) in offsets.iter().enumerate() {
        while marks.next_if(|mark| start >= mark.end).is_some() {}
        let Some(mark) = marks.peek() else { break };
        if end <= mark.start {
            continue;
        }
        let i = to_u32(i);
        match spans.last_mut() {
            Some(last) if last.1 == i => last.1 = i + 1,
            _ => spans.push((i, i + 1)),
        }
    }
    spans
}

/// Spans without some tokens.
fn without(spans: Spans, muted: Range<u32>) -> Spans {
    let parts = |(from, to): (u32, u32)| [(from, to.min(muted.start)), (from.max(muted.end), to)];
    let kept = spans.into_iter().flat_map(|span| match muted.is_empty() {
        true => [span, (0, 0)],
        false => parts(span),
    });
    kept.filter(|(from, to)| from < to).collect()
}

/// Where two texts part, as tokens of the whole.
struct Parting {
    at: usize,
    /// The other text ends behind it.
    parted: bool,
}

/// A conversation as its template writes it, in tokens.
struct Written<'a, E: ?Sized> {
    template: &'a Template,
    chat: &'a Chat,
    text: &'a str,
    ids: &'a [u32],
    /// The bytes of `text` that each token stands for.
    offsets: &'a [(usize, usize)],
    asks_always: bool,
    tokenizer: &'a E,
}

impl<E: Encode + ?Sized> Written<'_, E> {
    /// All turns of the assistant that count.
    fn turns(&self) -> Result<Encoded> {
        let messages = &self.chat.messages;
        let (mut spans, mut end, mut any) = (Spans::new(), self.ids.len(), false);
        // From the last to the first: a turn ends before the next begins.
        for i in (0..messages.len()).rev().filter(|&i| messages[i]["role"] == "assistant") {
            any = true;
            if self.chat.muted.contains(&i) {
                continue;
            }
            let turn = self.turn(i, end)?;
            end = turn.start;
            if !turn.is_empty() {
                spans.push((to_u32(turn.start), to_u32(turn.end)));
            }
        }
        if !any {
            let why = "has none of role assistant: nothing to train on; ‹loss = all› trains on everything";
            return Err(Error::invalid("messages", why));
        }
        spans.reverse();
        Ok(Encoded { ids: self.ids.to_vec(), spans, parted: false, ended: true })
    }

    /// The tokens of message `i`, the assistant's, which ends before token `limit`.
    fn turn(&self, i: usize, limit: usize) -> Result<Range<usize>> {
        let messages = &self.chat.messages;
        let render = |n: usize, ask| {
            Ok::<_, Error>(self.template.render(self.chat, &messages[..n], ask)?.text)
        };
        let unclear = |why: &str| {
            let why = format!(
                "this chat template writes message {} otherwise {why}, so that what the assistant said cannot be told \
                 from the rest; end the conversation there, mark its words in the template ({{% generation %}}), use \
                 ‹loss = all›, or give prompt and completion",
                i + 1
            );
            Error::invalid("messages", why)
        };
        let before = match render(i, true) {
            Ok(before) => before,
            Err(_) if i == 0 => {
                let why = "begin with the assistant, and this chat template asks nobody for the first words; begin with a user";
                return Err(Error::invalid("messages", why));
            }
            Err(e) => return Err(e),
        };
        let from = self.parts(&before)?;
        if from.parted && common(before.as_bytes(), self.text.as_bytes()) < before.len() {
            // What is asked may be written otherwise than what is said, what was said before may
            // not.
            let said = if i == 0 { String::new() } else { render(i, false)? };
            let said = if self.asks_always { "" } else { said.trim_end() };
            if !self.text.starts_with(said) {
                return Err(unclear("than those before it"));
            }
            // A turn that is left out has no place in the text.
            let others = [&messages[..i], &messages[i + 1..]].concat();
            let without = self.template.render(self.chat, &others, false);
            if without.is_ok_and(|without| without.text == self.text) {
                return Err(unclear("once more follow"));
            }
        }
        let from = from.at;
        let last = i + 1 == messages.len();
        let after = if last { self.text.to_owned() } else { render(i + 1, false)? };
        let content = messages[i]["content"].as_str().unwrap_or_default();
        let begin = common(before.as_bytes(), after.as_bytes());
        let end = ended(&after, begin, content);
        let to = if self.asks_always {
            Some(self.before_question(&before, &after, from, limit))
        } else if end <= begin {
            // Nothing is written for it, though a token may lie across.
            Some(from)
        } else if self.text.starts_with(&after) {
            Some(self.behind(end).clamp(from, limit))
        } else {
            self.rewritten(&after, end, from, limit)?
        };
        Ok(from..to.ok_or_else(|| unclear("once more follow"))?)
    }

    /// The first token that is not the other text's.
    ///
    /// Text behind a special token is split without regard to what is in front of it, so only the
    /// end is encoded again.
    fn parts(&self, other: &str) -> Result<Parting> {
        let same = common(other.as_bytes(), self.text.as_bytes());
        let whole = self.offsets.partition_point(|&(_, end)| end <= same);
        let special = (0..whole).rev().find(|&k| self.tokenizer.is_special(self.ids[k]));
        let first = special.unwrap_or(0);
        let start = special.map_or(0, |k| self.offsets[k].0);
        let Some(tail) = other.get(start..) else {
            return Err(Error::invalid(
                "messages",
                "the tokenizer's offsets lie inside of characters",
            ));
        };
        let tail = self.tokenizer.encode_inside(tail)?;
        let same = common(&tail, &self.ids[first..]);
        Ok(Parting { at: first + same, parted: same < tail.len() })
    }

    /// The first token behind some bytes of the text; one across their end belongs to them.
    fn behind(&self, end: usize) -> usize {
        let inside = |&(from, to): &(usize, usize)| from < end || to <= end;
        self.offsets.iter().rposition(inside).map_or(0, |last| last + 1)
    }

    /// The end of a turn in a template that asks for the next at every end: behind the last token
    /// that is not the question's. The question is what the texts before and after it both end
    /// with, the token that ends a turn apart.
    fn before_question(&self, before: &str, after: &str, from: usize, limit: usize) -> usize {
        let said = common(after.as_bytes(), self.text.as_bytes());
        let tail =
            before.bytes().rev().zip(after.bytes().rev()).take_while(|(a, b)| a == b).count();
        let question = after.len() - tail;
        let first = self.offsets.partition_point(|&(_, end)| end <= question).clamp(from, limit);
        let last = self.behind(said).clamp(from, limit);
        if first > from && self.tokenizer.is_special(self.ids[first - 1]) {
            return first;
        }
        let end = (first..last).find(|&k| self.tokenizer.is_special(self.ids[k]));
        end.map_or(first, |end| end + 1)
    }

    /// The end of a turn that the template writes otherwise once more messages follow (thoughts
    /// that are left out, another end token): behind the first token that ends it alone, too.
    fn rewritten(
        &self,
        after: &str,
        end: usize,
        from: usize,
        limit: usize,
    ) -> Result<Option<usize>> {
        let (ids, offsets) = self.tokenizer.encode_with_offsets(after)?;
        let alone = &ids[from.min(ids.len())..];
        let inside = offsets.iter().skip(from).take_while(|&&(start, _)| start < end).count();
        let alone = &alone[..inside];
        let written = &self.ids[from..limit.max(from)];
        let same = common(alone, written);
        if same == alone.len() {
            return Ok(Some(from + same));
        }
        let special = |id: &u32| self.tokenizer.is_special(*id);
        let Some(last) = alone.last().filter(|id| special(id)) else { return Ok(None) };
        if same + 1 == alone.len() && written.get(same).is_some_and(special) {
            return Ok(Some(from + same + 1));
        }
        Ok(written.iter().position(|id| id == last).map(|at| from + at + 1))
    }
}

/// Where a turn ends in its text: before the white space that a template writes behind an end
/// token. A turn that ends in its words has none, and ends in whatever is behind them.
fn ended(text: &str, begin: usize, content: &str) -> usize {
    let trimmed = text.trim_end();
    let words = content.trim_end();
    match !words.is_empty() && trimmed.ends_with(words) {
        true => text.len(),
        false => trimmed.len().max(begin),
    }
}
