//! Calls: macros, methods, and the functions that every template has.

use std::cell::Cell;
use std::rc::Rc;

use super::ast::Name;
use super::eval::eval;
use super::fault::{Result, beyond, raised};
use super::machine::Machine;
use super::run::{Flow, Out, run, run_again};
use super::scope::Scope;
use super::value::{Closure, Dict, Items, Range, Value};
use super::{methods, source};

/// jinja2's functions and those that transformers adds.
pub(super) const GLOBALS: [&str; 8] =
    ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "raise_exception", "strftime_now"];

/// Elements of the longest `range`, in jinja2's sandbox.
const LONGEST_RANGE: usize = 100_000;

/// Namespaces that a template may make.
const MOST_NAMESPACES: usize = 100_000;

/// What a call is given.
#[derive(Clone, Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) keyword: Vec<(Name, Value)>,
}

impl Args {
    /// The arguments by name, the first `needed` of which must be there.
    pub(super) fn named<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
        needed: usize,
    ) -> Result<[Option<Value>; N]> {
        let mut found = [const { None }; N];
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(raised(format!(
                "{function}() takes at most {N} arguments ({given} given)"
            )));
        }
        for (slot, value) in found.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.keyword {
            let Some(at) = names.iter().position(|known| *known == &*name) else {
                let why = format!("{function}() got an unexpected keyword argument '{name}'");
                return Err(raised(why));
            };
            if found[at].replace(value).is_some() {
                let why = format!("{function}() got multiple values for argument '{name}'");
                return Err(raised(why));
            }
        }
        match found.iter().take(needed).position(Option::is_none) {
            Some(at) => {
                let name = names[at];
                Err(raised(format!("{function}() missing required argument: '{name}'")))
            }
            None => Ok(found),
        }
    }

    /// The arguments of a function that takes none by name.
    pub(super) fn positional_only<const N: usize>(
        self,
        function: &str,
        needed: usize,
    ) -> Result<[Option<Value>; N]> {
        if !self.keyword.is_empty() {
            return Err(raised(format!("{function}() takes no keyword arguments")));
        }
        let given = self.positional.len();
        if given > N || given < needed {
            let why = format!("{function}() takes {needed} to {N} arguments ({given} given)");
            return Err(raised(why));
        }
        self.named(function, [""; N], 0)
    }
}

/// Calls a value.
pub(super) fn call(machine: &mut Machine, callee: &Value, args: Args) -> Result<Value> {
    machine.descend()?;
    match callee {
        Value::Undefined(why) => Err(raised(&**why)),
        Value::Method(method) => methods::call(machine, &method.0, &method.1, args),
        Value::Macro(closure) => Ok(Value::text(invoke(machine, closure, args)?)),
        Value::Function(name) => function(machine, name, args),
        Value::Loop(state) => {
            let Some((parsed, scope)) = &state.again else {
                let why = "The loop must have the 'recursive' marker to be called recursively.";
                return Err(raised(why));
            };
            let [over] = args.named("loop", ["iterable"], 1)?;
            let over = over.unwrap_or(Value::None);
            let text = run_again(machine, parsed, &over, scope, state.depth0 + 1)?;
            Ok(Value::text(text))
        }
        Value::Joiner(joiner) => {
            let [] = args.positional_only("joiner", 0)?;
            Ok(match joiner.1.replace(true) {
                true => Value::Text(joiner.0.clone()),
                false => Value::text(""),
            })
        }
        callee => Err(raised(format!("'{}' object is not callable", callee.kind()))),
    }
}

/// The text of a macro.
pub(super) fn invoke(machine: &mut Machine, closure: &Closure, args: Args) -> Result<String> {
    machine.descend()?;
    let parsed = &closure.parsed;
    let scope = Scope::inside(&closure.scope, &parsed.body.hidden);
    let Args { positional, mut keyword } = args;
    let count = parsed.parameters.len();
    let mut take = |name: &str| {
        let at = keyword.iter().position(|(known, _)| **known == *name)?;
        Some(keyword.remove(at).1)
    };
    let explicit_caller = parsed.parameters.iter().any(|name| **name == *"caller");
    let mut values: Vec<Option<Value>> = positional.iter().take(count).cloned().map(Some).collect();
    for name in &parsed.parameters[values.len()..] {
        values.push(take(name));
    }
    if parsed.reads_caller && !explicit_caller {
        let none = || Value::undefined("No caller defined");
        let caller = take("caller").filter(|caller| !matches!(caller, Value::None));
        scope.set(&"caller".into(), caller.unwrap_or_else(none));
    }
    if parsed.reads_kwargs {
        let pairs = keyword.into_iter().map(|(name, value)| (Value::text(name), value));
        scope.set(&"kwargs".into(), Value::Dict(Rc::new(Dict::new(pairs)?)));
    } else if let Some((name, _)) = keyword.first() {
        let macro_name = &parsed.name;
        return Err(raised(format!("macro '{macro_name}' takes no keyword argument '{name}'")));
    }
    if parsed.reads_varargs {
        let rest = positional.into_iter().skip(count).collect();
        scope.set(&"varargs".into(), Value::tuple(rest)?);
    } else if positional.len() > count {
        let name = &parsed.name;
        return Err(raised(format!("macro '{name}' takes not more than {count} argument(s)")));
    }
    // Defaults see the parameters before them.
    for (name, value) in parsed.parameters.iter().zip(&values) {
        match value {
            Some(value) => scope.set(name, value.clone()),
            None => scope.hide(name),
        }
    }
    let first_default = count - parsed.defaults.len();
    for (at, name) in parsed.parameters.iter().enumerate().filter(|(at, _)| values[*at].is_none()) {
        let value = match at.checked_sub(first_default) {
            Some(at) => eval(machine, &parsed.defaults[at], &scope)?,
            None => Value::undefined(format!("parameter '{name}' was not provided")),
        };
        scope.set(name, value);
    }
    let mut out = Out::inner();
    match run(machine, &parsed.body.statements, &scope, &mut out)? {
        Flow::Through => Ok(out.text),
        _ => Err(raised("a loop's control outside of a loop")),
    }
}

fn function(machine: &mut Machine, name: &str, args: Args) -> Result<Value> {
    match name {
        "range" => {
            let bounds = args.positional_only::<3>("range", 1)?;
            let mut numbers = [0; 3];
            for (number, bound) in numbers.iter_mut().zip(bounds.iter().flatten()) {
                let Some(n) = bound.as_int() else {
                    let kind = bound.kind();
                    return Err(raised(format!(
                        "'{kind}' object cannot be interpreted as an integer"
                    )));
                };
                *number = n;
            }
            let range = match bounds.iter().flatten().count() {
                1 => Range { start: 0, stop: numbers[0], step: 1 },
                2 => Range { start: numbers[0], stop: numbers[1], step: 1 },
                _ => Range { start: numbers[0], stop: numbers[1], step: numbers[2] },
            };
            if range.step == 0 {
                return Err(raised("range() arg 3 must not be zero"));
            }
            if range.len() > LONGEST_RANGE {
                return Err(raised("Range too big. The sandbox blocks ranges larger than 100000."));
            }
            Ok(Value::Range(range))
        }
        "dict" => Ok(Value::Dict(Rc::new(pairs(machine, "dict", args)?))),
        "namespace" => {
            let dict = pairs(machine, "namespace", args)?;
            if machine.namespaces.len() == MOST_NAMESPACES {
                return Err(beyond(format!("more than {MOST_NAMESPACES} namespaces")));
            }
            let at = machine.namespaces.len();
            machine.namespaces.push(Vec::new());
            for (key, value) in dict.entries {
                let Value::Text(key) = key else {
                    return Err(beyond("namespaces with other keys than texts"));
                };
                machine.set_member(at, &(&*key).into(), value)?;
            }
            Ok(Value::Namespace(at))
        }
        "raise_exception" => {
            let [message] = args.named("raise_exception", ["message"], 1)?;
            let message = message.unwrap_or(Value::None);
            Err(raised(super::print::text(machine, &message)?))
        }
        "strftime_now" => {
            let [format] = args.named("strftime_now", ["format"], 1)?;
            match format {
                Some(Value::Text(format)) => {
                    let text = machine.now.format(&format);
                    let unknown = |code| beyond(format!("`{code}` in a date's format"));
                    Ok(Value::text(text.map_err(unknown)?))
                }
                _ => Err(raised("strftime() argument 1 must be str")),
            }
        }
        "cycler" => {
            if !args.keyword.is_empty() {
                return Err(raised("cycler() takes no keyword arguments"));
            }
            if args.positional.is_empty() {
                return Err(raised("at least one item has to be provided"));
            }
            Ok(Value::Cycler(Rc::new((Items::new(args.positional)?, Cell::new(0)))))
        }
        "joiner" => {
            let [separator] = args.named("joiner", ["sep"], 0)?;
            match separator {
                None => Ok(Value::Joiner(Rc::new((", ".into(), Cell::new(false))))),
                Some(Value::Text(sep)) => Ok(Value::Joiner(Rc::new((sep, Cell::new(false))))),
                Some(other) => Err(beyond(format!("a joiner with a {}", other.kind()))),
            }
        }
        name => Err(beyond(format!("the function `{name}`"))),
    }
}

/// The pairs that `dict` and `namespace` are made of.
fn pairs(machine: &mut Machine, function: &str, args: Args) -> Result<Dict> {
    let Args { positional, keyword } = args;
    if positional.len() > 1 {
        return Err(raised(format!("{function} expected at most 1 argument")));
    }
    let mut dict = Dict::default();
    match positional.first() {
        None => {}
        Some(Value::Dict(first)) => {
            machine.spend(first.entries.len())?;
            dict = Dict::of_distinct(first.entries.clone())?;
        }
        Some(Value::Namespace(_)) => {
            return Err(raised("'TemplateNamespace' object is not iterable"));
        }
        Some(first) => {
            for pair in source::elements(machine, first)? {
                let [key, value] = &source::elements(machine, &pair)?[..] else {
                    return Err(raised("dictionary update sequence element is no pair"));
                };
                dict.insert(key.clone(), value.clone())?;
            }
        }
    }
    for (name, value) in keyword {
        dict.insert(Value::text(name), value)?;
    }
    Ok(dict)
}

impl Machine {
    /// Gives a namespace's member a value.
    pub(super) fn set_member(&mut self, at: usize, name: &Name, value: Value) -> Result<()> {
        if name.starts_with('_') {
            return Err(raised(format!(
                "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{name}'."
            )));
        }
        let members = &mut self.namespaces[at];
        match members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => members.push((name.clone(), value)),
        }
        Ok(())
    }
}
