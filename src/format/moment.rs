//! The date that a template may ask for, and how Python writes it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A date and time of day, without zone: what a template's `strftime_now` calls now. In TOML
/// `"2026-11-30"`, or `"2026-11-30 08:15:00"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Days from 1970-01-01 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

impl Moment {
    /// Now, by the system's clock, in UTC.
    pub fn now() -> Moment {
        let seconds = crate::clock::since_epoch() as i64;
        let (mut left, time) = (seconds / 86_400, seconds % 86_400);
        let mut year = 1970;
        while left >= 365 + i64::from(is_leap(year)) {
            left -= 365 + i64::from(is_leap(year));
            year += 1;
        }
        let month = (1..=12).rev().find(|month| days(year, *month, 1) - days(year, 1, 1) <= left);
        let month = month.unwrap_or(1);
        let day = left - (days(year, month, 1) - days(year, 1, 1)) + 1;
        Moment { year, month, day, hour: time / 3600, minute: time / 60 % 60, second: time % 60 }
    }

    /// Python's `strftime`, in the C locale; an error is the code that is not known.
    pub(super) fn format(&self, format: &str) -> Result<String, String> {
        let Moment { year, month, day, hour, minute, second } = *self;
        let since = days(year, month, day);
        let weekday = (since + 3).rem_euclid(7);
        let yearday = since - days(year, 1, 1);
        let day_name = DAYS[usize::try_from(weekday).unwrap_or(0)];
        let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
        let twelve = (hour + 11) % 12 + 1;
        // The ISO week's year is that of its Thursday.
        let thursday = since - weekday + 3;
        let iso_year = (year - 1..=year + 1).rfind(|y| days(*y, 1, 1) <= thursday).unwrap_or(year);
        let iso_week = (thursday - days(iso_year, 1, 1)) / 7 + 1;
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let mut chars = rest[at + 1..].chars();
            let code = chars.next();
            let mut tail = chars.as_str();
            let padded = |n: i64, width: usize| format!("{n:0width$}");
            out.push_str(&match code {
                Some('a') => day_name[..3].to_owned(),
                Some('A') => day_name.to_owned(),
                Some('b' | 'h') => month_name[..3].to_owned(),
                Some('B') => month_name.to_owned(),
                Some('c') => self.format("%a %b %e %H:%M:%S %Y")?,
                Some('C') => padded(year / 100, 2),
                Some('d') => padded(day, 2),
                Some('D' | 'x') => self.format("%m/%d/%y")?,
                Some('e') => format!("{day:2}"),
                Some('F') => self.format("%Y-%m-%d")?,
                Some('f') => "000000".to_owned(),
                Some('g') => padded(iso_year % 100, 2),
                Some('G') => iso_year.to_string(),
                Some('H') => padded(hour, 2),
                Some('I') => padded(twelve, 2),
                Some('j') => padded(yearday + 1, 3),
                Some('k') => format!("{hour:2}"),
                Some('l') => format!("{twelve:2}"),
                Some('m') => padded(month, 2),
                Some('M') => padded(minute, 2),
                Some('n') => "\n".to_owned(),
                Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
                Some('P') => if hour < 12 { "am" } else { "pm" }.to_owned(),
                Some('r') => self.format("%I:%M:%S %p")?,
                Some('R') => self.format("%H:%M")?,
                Some('S') => padded(second, 2),
                Some('t') => "\t".to_owned(),
                Some('T' | 'X') => self.format("%H:%M:%S")?,
                Some('u') => (weekday + 1).to_string(),
                Some('U') => padded((yearday + 7 - (weekday + 1) % 7) / 7, 2),
                Some('V') => padded(iso_week, 2),
                Some('w') => ((weekday + 1) % 7).to_string(),
                Some('W') => padded((yearday + 7 - weekday) / 7, 2),
                Some('y') => padded(year % 100, 2),
                Some('Y') => year.to_string(),
                // A time without zone has neither offset nor name.
                Some('z' | 'Z') => String::new(),
                Some('%') => "%".to_owned(),
                // glibc's signs: no padding, and spaces or zeros for it.
                Some(sign @ ('-' | '_' | '0' | '^')) => {
                    let Some(code) = tail.chars().next() else {
                        return Err("%".to_owned() + &sign.to_string());
                    };
                    tail = &tail[code.len_utf8()..];
                    let text = self.format(&format!("%{code}"))?;
                    let is_number =
                        !text.is_empty() && text.trim_start().bytes().all(|b| b.is_ascii_digit());
                    let bare = text.trim_start().trim_start_matches('0');
                    let bare = if bare.is_empty() { "0" } else { bare };
                    match sign {
                        '^' => text.to_uppercase(),
                        '-' if is_number => bare.to_owned(),
                        '_' if is_number => format!("{bare:>width$}", width = text.len()),
                        '0' if is_number => format!("{bare:0>width$}", width = text.len()),
                        _ => text,
                    }
                }
                Some(code) => return Err(format!("%{code}")),
                None => return Err("%".to_owned()),
            });
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Moment { year, month, day, hour, minute, second } = self;
        write!(to, "{year:04}-{month:02}-{day:02}")?;
        match (hour, minute, second) {
            (0, 0, 0) => Ok(()),
            _ => write!(to, " {hour:02}:{minute:02}:{second:02}"),
        }
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

impl TryFrom<String> for Moment {
    type Error = String;
    fn try_from(text: String) -> Result<Moment, String> {
        text.parse()
    }
}

impl FromStr for Moment {
    type Err = String;

    /// `2026-11-30`, or with a time of day, `2026-11-30 08:15:00`.
    fn from_str(text: &str) -> Result<Moment, String> {
        let bad = || format!("`{text}` is no date such as 2026-11-30 or 2026-11-30 08:15:00");
        let (date, time) = text.trim().split_once(['T', ' ']).unwrap_or((text.trim(), "00:00:00"));
        let numbers = |text: &str, between: char| -> Option<[i64; 3]> {
            let parts: Option<Vec<i64>> =
                text.split(between).map(|part| part.parse().ok()).collect();
            parts?.try_into().ok()
        };
        let [year, month, day] = numbers(date, '-').ok_or_else(bad)?;
        let [hour, minute, second] = numbers(time, ':').ok_or_else(bad)?;
        let longest = match month {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let right = (1000..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=longest).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second);
        if right { Ok(Moment { year, month, day, hour, minute, second }) } else { Err(bad()) }
    }
}
