//! Filters that make texts of texts.

use super::super::args::{Args, whole};
use super::super::fault::{Result, beyond, raised, room};
use super::super::value::Value;
use super::super::{markup, pieces, source};

pub(super) fn indent(value: &Value, args: Args) -> Result<Value> {
    let [width, first, blank] = args.named("indent", ["width", "first", "blank"], 0)?;
    let indention = match width {
        Some(Value::Text(text)) => text.to_string(),
        width => {
            let n = usize::try_from(whole(width, 4)?).unwrap_or(0);
            room(n)?;
            " ".repeat(n)
        }
    };
    let holds = |value: Option<Value>| value.is_some_and(|value| value.truth());
    let (first, blank) = (holds(first), holds(blank));
    let Value::Text(text) = value else {
        return Err(match value {
            Value::Undefined(why) => raised(&**why),
            value => {
                raised(format!("unsupported operand type(s) for +=: '{}' and 'str'", value.kind()))
            }
        });
    };
    let text = format!("{text}\n");
    let lines = pieces::lines(&text, false);
    room(text.len() + lines.len().saturating_mul(indention.len()))?;
    let mut out = if first { indention.clone() } else { String::new() };
    for (i, line) in lines.into_iter().enumerate() {
        if i > 0 {
            out.push('\n');
            out.push_str(if blank || !line.is_empty() { &indention } else { "" });
        }
        out.push_str(line);
    }
    Ok(Value::text(out))
}

pub(super) fn truncate(value: &Value, args: Args) -> Result<Value> {
    let [length, kill, end, leeway] =
        args.named("truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let length = whole(length, 255)?;
    let end = match end {
        None => "...".into(),
        Some(Value::Text(end)) => end,
        Some(other) => {
            return Err(beyond(format!("`truncate` with a {} at the end", other.kind())));
        }
    };
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        leeway => whole(leeway, 5)?,
    };
    let ending = end.chars().count() as i128;
    if length < ending || leeway < 0 {
        return Err(raised(format!("expected length >= {ending}, got {length}")));
    }
    let text = match value {
        Value::Text(text) | Value::Markup(text) => text,
        Value::Undefined(why) if length + leeway < 0 => return Err(raised(&**why)),
        Value::Undefined(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)
            if source::length(value).unwrap_or(0) as i128 <= length + leeway =>
        {
            return Ok(value.clone());
        }
        value => {
            return Err(raised(format!("object of type '{}' cannot be truncated", value.kind())));
        }
    };
    if text.chars().count() as i128 <= length + leeway {
        return Ok(value.clone());
    }
    let kept: String = text.chars().take(usize::try_from(length - ending).unwrap_or(0)).collect();
    let kept = match kill.is_some_and(|kill| kill.truth()) {
        true => &*kept,
        false => kept.rsplit_once(' ').map_or(&*kept, |(before, _)| before),
    };
    Ok(match value {
        Value::Markup(_) => Value::Markup(format!("{kept}{}", markup::escaped(&end)).into()),
        _ => Value::text(format!("{kept}{end}")),
    })
}
