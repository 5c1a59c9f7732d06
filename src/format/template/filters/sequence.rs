//! jinja2's filters of sequences.
//!
//! **Source** jinja2 3.1 `filters.py`.

use super::super::args::{Args, whole};
use super::super::fault::{Result, raised};
use super::super::path::Path;
use super::super::source::{self, Source, elements};
use super::super::value::{Items, Iter, Machine, Value};
use super::super::{compare, operators, order, print};

/// `value|name(args)`; `None` for a filter of single values.
pub(super) fn apply(
    machine: &mut Machine,
    name: &str,
    value: &Value,
    args: &Args,
) -> Option<Result<Value>> {
    let args = args.clone();
    Some(match name {
        "length" | "count" => length(machine, name, value, args),
        "first" | "last" => end(machine, name, value, args),
        "list" => {
            args.named::<0>(name, [], 0).and_then(|[]| Value::list(elements(machine, value)?))
        }
        "join" => join(machine, value, args),
        "reverse" => reverse(machine, value, args),
        "sort" | "min" | "max" => sort(machine, name, value, args),
        "dictsort" => dictsort(value, args),
        "unique" => unique(value, args),
        "groupby" => groupby(machine, value, args),
        "sum" => sum(machine, value, args),
        "batch" => batch(value, args),
        "slice" => slice(value, args),
        _ => return None,
    })
}

fn length(machine: &mut Machine, name: &str, value: &Value, args: Args) -> Result<Value> {
    let [] = args.named(name, [], 0)?;
    let length = match value {
        Value::Loop(state) => Some(state.length(machine)?),
        value => source::length(value),
    };
    match length {
        Some(n) => Ok(Value::Int(n as i128)),
        None => Err(raised(format!("object of type '{}' has no len()", value.kind()))),
    }
}

fn end(machine: &mut Machine, name: &str, value: &Value, args: Args) -> Result<Value> {
    let [] = args.named(name, [], 0)?;
    let found = match name {
        "first" => Source::new(value)?.next(machine)?,
        _ => match source::reversed(value)? {
            Some(back) => Source::new(&back)?.next(machine)?,
            // `reversed` of what is undefined finds a length of none.
            None if value.is_undefined() => None,
            None => return Err(raised(format!("'{}' object is not reversible", value.kind()))),
        },
    };
    Ok(found.unwrap_or_else(|| Value::undefined(format!("No {name} item, sequence was empty."))))
}

fn join(machine: &mut Machine, value: &Value, args: Args) -> Result<Value> {
    let [between, attribute] = args.named("join", ["d", "attribute"], 0)?;
    let path = Path::new(attribute)?;
    let between = match between {
        Some(between) => print::text(machine, &between)?,
        None => String::new(),
    };
    let mut out = String::new();
    let mut source = Source::new(value)?;
    let mut first = true;
    while let Some(item) = source.next(machine)? {
        if !std::mem::take(&mut first) {
            out.push_str(&between);
        }
        let item = path.get(machine, item)?;
        print::write(machine, &item, &mut out)?;
        super::super::fault::room(out.len())?;
    }
    machine.spend(out.len() / 64)?;
    Ok(Value::text(out))
}

fn reverse(machine: &mut Machine, value: &Value, args: Args) -> Result<Value> {
    let [] = args.named("reverse", [], 0)?;
    match value {
        Value::Text(text) => Ok(Value::text(text.chars().rev().collect::<String>())),
        Value::Markup(text) => Ok(Value::Markup(text.chars().rev().collect::<String>().into())),
        value => match source::reversed(value)? {
            Some(back) => Ok(back),
            None => {
                let mut all = elements(machine, value)?;
                all.reverse();
                match value {
                    Value::Undefined(_) => Iter::value("reversed", &[], |_| Ok(None)),
                    _ => Value::list(all),
                }
            }
        },
    }
}

fn ignoring_case(value: Value, case_sensitive: bool) -> Value {
    match value {
        Value::Text(text) if !case_sensitive => Value::text(text.to_lowercase()),
        value => value,
    }
}

fn holds(value: Option<Value>) -> bool {
    value.is_some_and(|value| value.truth())
}

fn sort(machine: &mut Machine, name: &str, value: &Value, args: Args) -> Result<Value> {
    let (reverse, case_sensitive, attribute) = match name {
        "sort" => {
            let names = ["reverse", "case_sensitive", "attribute"];
            let [reverse, case_sensitive, attribute] = args.named(name, names, 0)?;
            (holds(reverse), holds(case_sensitive), attribute)
        }
        _ => {
            let [case_sensitive, attribute] =
                args.named(name, ["case_sensitive", "attribute"], 0)?;
            (false, holds(case_sensitive), attribute)
        }
    };
    let paths = match name {
        "sort" => Path::several(attribute)?,
        _ => vec![Path::new(attribute)?],
    };
    let mut keyed = Vec::new();
    for item in elements(machine, value)? {
        let mut key = Vec::new();
        for path in &paths {
            key.push(ignoring_case(path.get(machine, item.clone())?, case_sensitive));
        }
        let key = match name {
            "sort" => Value::list(key)?,
            _ => key.pop().unwrap_or(Value::None),
        };
        keyed.push((key, item));
    }
    let key = |pair: &(Value, Value)| pair.0.clone();
    match name {
        "sort" => {
            let sorted = order::sorted(keyed, key, reverse)?;
            Value::list(sorted.into_iter().map(|(_, item)| item).collect())
        }
        name => {
            let sign = if name == "min" { "<" } else { ">" };
            let better =
                if name == "min" { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
            let mut best: Option<(Value, Value)> = None;
            for pair in keyed {
                let wins = match &best {
                    None => true,
                    Some((key, _)) => compare::order(&pair.0, key, sign)? == Some(better),
                };
                if wins {
                    best = Some(pair);
                }
            }
            let none = || Value::undefined("No aggregated item, sequence was empty.");
            Ok(best.map_or_else(none, |(_, item)| item))
        }
    }
}

fn dictsort(value: &Value, args: Args) -> Result<Value> {
    let names = ["case_sensitive", "by", "reverse"];
    let [case_sensitive, by, reverse] = args.named("dictsort", names, 0)?;
    let by_value = match by {
        None => false,
        Some(Value::Text(by)) if *by == *"key" => false,
        Some(Value::Text(by)) if *by == *"value" => true,
        _ => return Err(raised("You can only sort by either \"key\" or \"value\"")),
    };
    let case_sensitive = holds(case_sensitive);
    let Value::Dict(dict) = value else {
        return Err(match value {
            Value::Undefined(why) => raised(&**why),
            value => raised(format!("'{}' object has no attribute 'items'", value.kind())),
        });
    };
    let key = |(key, value): &(Value, Value)| {
        ignoring_case(if by_value { value.clone() } else { key.clone() }, case_sensitive)
    };
    let sorted = order::sorted(dict.entries.clone(), key, holds(reverse))?;
    let pairs: Result<Vec<Value>> =
        sorted.into_iter().map(|(k, v)| Value::tuple(vec![k, v])).collect();
    Value::list(pairs?)
}

fn unique(value: &Value, args: Args) -> Result<Value> {
    let [case_sensitive, attribute] = args.named("unique", ["case_sensitive", "attribute"], 0)?;
    let (case_sensitive, path) = (holds(case_sensitive), Path::new(attribute)?);
    // Like every generator, it looks at its source only when it is read.
    let (of, mut source) = (value.clone(), None);
    let mut seen: Vec<Value> = Vec::new();
    Iter::value("generator", &[value], move |machine| {
        if source.is_none() {
            source = Some(Source::new(&of)?);
        }
        let Some(source) = &mut source else { return Ok(None) };
        while let Some(item) = source.next(machine)? {
            let key = ignoring_case(path.get(machine, item.clone())?, case_sensitive);
            key.check_hashable()?;
            machine.spend(seen.len())?;
            if !seen.iter().any(|known| known.equals(&key)) {
                seen.push(key);
                return Ok(Some(item));
            }
        }
        Ok(None)
    })
}

fn groupby(machine: &mut Machine, value: &Value, args: Args) -> Result<Value> {
    let names = ["attribute", "default", "case_sensitive"];
    let [attribute, default, case_sensitive] = args.named("groupby", names, 1)?;
    let (path, case_sensitive) = (Path::new(attribute)?, holds(case_sensitive));
    let default = default.unwrap_or(Value::None);
    let mut keyed = Vec::new();
    for item in elements(machine, value)? {
        let key = path.get_or(machine, item.clone(), &default)?;
        keyed.push((ignoring_case(key, case_sensitive), item));
    }
    let sorted = order::sorted(keyed, |pair| pair.0.clone(), false)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in sorted {
        match groups.last_mut() {
            Some((last, items)) if last.equals(&key) => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let mut found = Vec::new();
    for (key, items) in groups {
        let key = match (case_sensitive, items.first()) {
            (false, Some(first)) => path.get_or(machine, first.clone(), &default)?,
            _ => key,
        };
        found.push(Value::Tuple(Items::group(key, Value::list(items)?)?));
    }
    Value::list(found)
}

fn sum(machine: &mut Machine, value: &Value, args: Args) -> Result<Value> {
    let [attribute, start] = args.named("sum", ["attribute", "start"], 0)?;
    let path = Path::new(attribute)?;
    let mut total = start.unwrap_or(Value::Int(0));
    if let Value::Text(_) = total {
        return Err(raised("sum() can't sum strings [use ''.join(seq) instead]"));
    }
    let mut source = Source::new(value)?;
    while let Some(item) = source.next(machine)? {
        let item = path.get(machine, item)?;
        total = operators::binary(machine, super::super::ast::Operator::Add, &total, &item)?;
    }
    Ok(total)
}

fn batch(value: &Value, args: Args) -> Result<Value> {
    let [count, fill] = args.named("batch", ["linecount", "fill_with"], 1)?;
    let count = count.unwrap_or(Value::None);
    let fill = fill.unwrap_or(Value::None);
    let (of, mut source, mut next) = (value.clone(), None, None);
    Iter::value("generator", &[value, &fill.clone()], move |machine| {
        if source.is_none() {
            source = Some(Source::new(&of)?);
        }
        let Some(source) = &mut source else { return Ok(None) };
        let mut line: Vec<Value> = next.take().into_iter().collect();
        while let Some(item) = source.next(machine)? {
            if Value::Int(line.len() as i128).equals(&count) {
                // Of no elements: an empty line, as jinja2 gives it.
                next = Some(item);
                return Value::list(line).map(Some);
            }
            line.push(item);
        }
        if line.is_empty() {
            return Ok(None);
        }
        if !matches!(fill, Value::None) {
            let count = count.as_int().ok_or_else(|| raised("'<' not supported for this count"))?;
            let count = usize::try_from(count).unwrap_or(0);
            super::super::fault::room(count)?;
            machine.spend(count)?;
            while line.len() < count {
                line.push(fill.clone());
            }
        }
        Value::list(line).map(Some)
    })
}

fn slice(value: &Value, args: Args) -> Result<Value> {
    let [slices, fill] = args.named("slice", ["slices", "fill_with"], 1)?;
    let slices = whole(slices, 0)?;
    let fill = fill.unwrap_or(Value::None);
    let (of, mut all, mut number) = (value.clone(), None, 0);
    let mut offset = 0;
    Iter::value("generator", &[value, &fill.clone()], move |machine| {
        if all.is_none() {
            all = Some(elements(machine, &of)?);
            if slices == 0 {
                return Err(raised("integer modulo by zero"));
            }
        }
        let Some(all) = &all else { return Ok(None) };
        let Ok(slices) = usize::try_from(slices) else { return Ok(None) };
        if number >= slices {
            return Ok(None);
        }
        machine.spend(1)?;
        let (each, extra) = (all.len() / slices, all.len() % slices);
        let start = offset + number * each;
        offset += usize::from(number < extra);
        let end = offset + (number + 1) * each;
        let mut part = all[start..end].to_vec();
        if !matches!(fill, Value::None) && number >= extra {
            part.push(fill.clone());
        }
        number += 1;
        Value::list(part).map(Some)
    })
}
