//! What stands in a cell of Parquet, as JSON: numbers as they are, bytes as the text that they are,
//! and dates, times and decimals as the strings that Python makes of them (times with a zone in
//! UTC).

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use crate::data::records::{Record, bytes_value};

/// The record of a row of the group `columns`.
pub(super) fn record(row: Row, columns: &Type) -> Record {
    let kinds = columns.get_fields();
    let cell = |(i, (name, field)): (usize, (String, Field))| {
        let value = value(field, kinds.get(i).map(AsRef::as_ref));
        (name, value)
    };
    row.into_columns().into_iter().enumerate().map(cell).collect()
}

/// What a schema has that cannot be read, or not be told apart: columns of equal names, and
/// intervals.
pub(super) fn check(group: &Type) -> Result<(), String> {
    let mut names = Vec::new();
    for field in group.get_fields() {
        let name = field.name();
        if names.contains(&name) {
            return Err(format!("two columns are called `{name}`; rename one"));
        }
        names.push(name);
        if field.is_group() {
            check(field)?;
        } else if field.get_basic_info().converted_type() == ConvertedType::INTERVAL {
            return Err(format!(
                "column `{name}` holds intervals, which are not read; leave it out"
            ));
        }
    }
    Ok(())
}

/// The value of a field whose type is `kind`.
fn value(field: Field, kind: Option<&Type>) -> Value {
    match field {
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => match kind.and_then(logical) {
            Some(LogicalType::Uuid) if bytes.len() == 16 => uuid(bytes.data()).into(),
            _ => bytes_value(bytes.data()),
        },
        Field::Float16(x) => float(x.into()),
        Field::Float(x) => float(x.into()),
        Field::Double(x) => float(x),
        Field::Date(days) => date(days.into()).into(),
        Field::TimeMillis(ms) => time(i64::from(ms) * 1_000_000).into(),
        Field::TimeMicros(us) => time(us.saturating_mul(1000)).into(),
        Field::TimestampMillis(ms) => timestamp(ms, 1000, kind).into(),
        Field::TimestampMicros(us) => timestamp(us, 1_000_000, kind).into(),
        // The reader takes nanoseconds for plain numbers.
        Field::Long(ns) => match kind.and_then(logical) {
            Some(LogicalType::Timestamp(t)) if t.unit == TimeUnit::NANOS => {
                timestamp(ns, 1_000_000_000, kind).into()
            }
            Some(LogicalType::Time(t)) if t.unit == TimeUnit::NANOS => time(ns).into(),
            _ => ns.into(),
        },
        Field::Group(row) => match kind {
            Some(kind) if kind.is_group() => Value::Object(record(row, kind)),
            _ => Field::Group(row).to_json_value(),
        },
        Field::ListInternal(list) => {
            let element = kind.and_then(element);
            list.elements().iter().map(|field| value(field.clone(), element)).collect()
        }
        Field::MapInternal(map) => {
            let pair = kind.and_then(|kind| children(kind).first()).map(AsRef::as_ref);
            let kinds = pair.map(children).unwrap_or_default();
            let kind = |i: usize| kinds.get(i).map(AsRef::as_ref);
            let entry = |(key, field): &(Field, Field)| {
                let key = match value(key.clone(), kind(0)) {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                (key, value(field.clone(), kind(1)))
            };
            Value::Object(Map::from_iter(map.entries().iter().map(entry)))
        }
        other => other.to_json_value(),
    }
}

fn logical(kind: &Type) -> Option<&LogicalType> {
    kind.get_basic_info().logical_type_ref()
}

fn children(kind: &Type) -> &[parquet::schema::types::TypePtr] {
    if kind.is_group() { kind.get_fields() } else { &[] }
}

/// The type of a list's elements: three levels as the format has them now, or two as it had.
fn element(list: &Type) -> Option<&Type> {
    if list.get_basic_info().converted_type() != ConvertedType::LIST {
        // Repeated without a list around it.
        return Some(list);
    }
    let repeated = children(list).first()?.as_ref();
    match children(repeated) {
        [only] if repeated.name() != "array" && !repeated.name().ends_with("_tuple") => Some(only),
        _ => Some(repeated),
    }
}

/// A number; not a number is missing, and what is infinite is no number of JSON.
fn float(x: f64) -> Value {
    match x {
        x if x.is_nan() => Value::Null,
        x if x.is_infinite() => Value::from(if x > 0.0 { "inf" } else { "-inf" }),
        x => x.into(),
    }
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&i) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

/// `HH:MM:SS`, and the parts of a second if there are any: six digits, or nine.
fn time(nanoseconds: i64) -> String {
    let (seconds, rest) =
        (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match rest {
        0 => String::new(),
        rest if rest % 1000 == 0 => format!(".{:06}", rest / 1000),
        rest => format!(".{rest:09}"),
    };
    format!("{h:02}:{m:02}:{s:02}{fraction}")
}

/// `YYYY-MM-DD HH:MM:SS`, and `+00:00` behind it where the column says that its times are UTC's.
fn timestamp(ticks: i64, per_second: i64, kind: Option<&Type>) -> String {
    let (seconds, rest) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let clock = time(second * 1_000_000_000 + rest * (1_000_000_000 / per_second));
    let utc = kind.is_some_and(|kind| {
        kind.get_physical_type() != Physical::INT96
            && matches!(logical(kind), Some(LogicalType::Timestamp(t)) if t.is_adjusted_to_u_t_c)
    });
    format!("{} {clock}{}", date(days), if utc { "+00:00" } else { "" })
}

/// `YYYY-MM-DD`.
fn date(days: i64) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date of a number of days since 1970-01-01, in the Gregorian calendar of all times.
///
/// **Source** Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_pythons() {
        assert_eq!(timestamp(0, 1000, None), "1970-01-01 00:00:00");
        assert_eq!(timestamp(-1, 1000, None), "1969-12-31 23:59:59.999000");
        assert_eq!(timestamp(951_782_400, 1, None), "2000-02-29 00:00:00");
        assert_eq!(timestamp(4_107_542_399_000_001, 1_000_000, None), "2100-02-28 23:59:59.000001");
        assert_eq!(
            timestamp(1_700_000_000_000_000_001, 1_000_000_000, None),
            "2023-11-14 22:13:20.000000001"
        );
        assert_eq!(time(3_661_000_000_000), "01:01:01");
        assert_eq!(uuid(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
