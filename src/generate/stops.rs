//! Stop texts in a stream: what may be the beginning of one is held back.

/// Text on its way out.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    stops: Vec<String>,
    held: String,
}

impl Stops {
    /// Watches for these texts; empty ones are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Stops {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Stops { stops, held: String::new() }
    }

    /// Adds text; returns what may go out, and whether a stop text was found (which does not go out,
    /// nor does anything behind it).
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(at);
            return (self.finish(), true);
        }
        let may_begin = |at: &usize| {
            let rest = &self.held[*at..];
            self.stops.iter().any(|stop| stop.starts_with(rest))
        };
        let starts = self.held.char_indices().map(|(at, _)| at);
        let cut = starts.into_iter().find(may_begin).unwrap_or(self.held.len());
        let rest = self.held.split_off(cut);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, when nothing more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_held_back_only_as_long_as_it_may_be_a_stop() {
        let mut stops = Stops::new(["\n\n".to_owned(), "END".to_owned(), String::new()]);
        assert_eq!(stops.push("a\n"), ("a".into(), false));
        assert_eq!(stops.push("b E"), ("\nb ".into(), false));
        assert_eq!(stops.push("N"), (String::new(), false));
        assert_eq!(stops.push("T é"), ("ENT é".into(), false));
        assert_eq!(stops.push("x ENDE"), ("x ".into(), true));
        let mut stops = Stops::new(["END".to_owned()]);
        assert_eq!(stops.push("EN").0 + &stops.finish(), "EN");
    }
}
