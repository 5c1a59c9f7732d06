//! Stop texts among the bytes of tokens: they may begin in the prompt, in the middle of a token or
//! in a special one.

/// A place in an answer: a token, and a byte of what it adds to the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the answer.
    Prompt,
    /// Token and byte.
    Answer(usize, usize),
}

/// What a new token does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It completes a stop text, which begins here.
    Stop(Place),
    /// From here on there may be the beginning of one.
    Perhaps(Place),
    /// No stop text has begun.
    Nothing,
}

/// Watches the tokens of an answer.
///
/// **Source** transformers 5.24, `StopStringCriteria`: a stop text counts if the last token
/// completes it, wherever it begins; every token counts with what it adds to the text, special ones
/// written out.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops {
    stops: Vec<Vec<u8>>,
    /// The end of the prompt, then the answer.
    bytes: Vec<u8>,
    /// Where each token of the answer begins in `bytes`.
    starts: Vec<usize>,
}

impl Stops {
    /// Watches for these texts; empty ones are ignored.
    pub(super) fn new(stops: &[String]) -> Stops {
        let stops = stops.iter().filter(|stop| !stop.is_empty());
        Stops { stops: stops.map(|stop| stop.clone().into_bytes()).collect(), ..Stops::default() }
    }

    /// The bytes before an answer that may be of a stop text in it: one less than the longest.
    pub(super) fn reach(&self) -> usize {
        self.stops.iter().map(|stop| stop.len() - 1).max().unwrap_or(0)
    }

    /// Takes the end of the prompt.
    pub(super) fn begin_behind(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// Whether there is anything to watch for.
    pub(super) fn is_empty(&self) -> bool {
        self.stops.is_empty()
    }

    /// Adds a token of the answer.
    pub(super) fn push(&mut self, token: &[u8]) -> Seen {
        let end = self.bytes.len();
        self.starts.push(end);
        self.bytes.extend(token);
        let found = self.stops.iter().filter_map(|stop| {
            let from = (end + 1).saturating_sub(stop.len());
            let at = self.bytes[from..].windows(stop.len()).position(|bytes| bytes == stop)?;
            Some(from + at)
        });
        if let Some(at) = found.min() {
            return Seen::Stop(self.place(at));
        }
        let mut from = self.bytes.len().saturating_sub(self.reach())..self.bytes.len();
        let begins = |at: &usize| self.stops.iter().any(|s| s.starts_with(&self.bytes[*at..]));
        from.find(begins).map_or(Seen::Nothing, |at| Seen::Perhaps(self.place(at)))
    }

    fn place(&self, at: usize) -> Place {
        match self.starts.partition_point(|&start| start <= at) {
            0 => Place::Prompt,
            n => Place::Answer(n - 1, at - self.starts[n - 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(stops: &[&str], prompt: &str) -> Stops {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).into()).collect();
        let mut stops = Stops::new(&stops);
        stops.begin_behind(prompt.into());
        stops
    }

    #[test]
    fn a_stop_text_may_lie_anywhere_over_the_last_token() {
        let mut stops = watch(&["\n\n", "END", ""], "");
        assert_eq!(stops.push(b"a\n"), Seen::Perhaps(Place::Answer(0, 1)));
        assert_eq!(stops.push(b"b E"), Seen::Perhaps(Place::Answer(1, 2)));
        assert_eq!(stops.push(b"N"), Seen::Perhaps(Place::Answer(1, 2)));
        assert_eq!(stops.push("T é".as_bytes()), Seen::Nothing);
        assert_eq!(stops.push(b""), Seen::Nothing);
        assert_eq!(stops.push(b"x ENDE"), Seen::Stop(Place::Answer(5, 2)));
        // Of several the one that begins first.
        assert_eq!(watch(&["b", "ab c"], "").push(b"xab c"), Seen::Stop(Place::Answer(0, 1)));
        // Half a letter is a beginning.
        let mut stops = watch(&["é"], "");
        assert_eq!(stops.push(b"\xE9\xC3"), Seen::Perhaps(Place::Answer(0, 1)));
        assert_eq!(stops.push(b"\xA9"), Seen::Stop(Place::Answer(0, 1)));
    }

    #[test]
    fn a_stop_text_may_begin_in_the_prompt_but_not_end_there() {
        let mut stops = watch(&["END"], "END EN");
        assert_eq!(stops.push(b" "), Seen::Nothing);
        let mut stops = watch(&["END"], "EN");
        assert_eq!(stops.reach(), 2);
        assert_eq!(stops.push(b""), Seen::Perhaps(Place::Prompt));
        assert_eq!(stops.push(b"D!"), Seen::Stop(Place::Prompt));
    }
}
