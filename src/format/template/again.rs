//! What has a body that a call runs: macros and recursive loops.

use std::rc::Rc;

use super::args::Args;
use super::eval::eval;
use super::fault::{Result, raised};
use super::run::{Flow, Out, run, run_again};
use super::value::{Closure, Dict, Machine, Scope, Value};

/// The text of a macro, or of a loop that is run over something else.
pub(super) fn again(machine: &mut Machine, callee: &Value, args: Args) -> Result<String> {
    match callee {
        Value::Macro(closure) => invoke(machine, closure, args),
        Value::Loop(state) => {
            let Some((parsed, scope)) = &state.again else {
                let why = "The loop must have the 'recursive' marker to be called recursively.";
                return Err(raised(why));
            };
            let [over] = args.named("loop", ["iterable"], 1)?;
            let over = over.unwrap_or(Value::None);
            run_again(machine, parsed, &over, scope, state.depth0 + 1)
        }
        callee => Err(raised(format!("'{}' object is not callable", callee.kind()))),
    }
}

/// The text of a macro.
fn invoke(machine: &mut Machine, closure: &Closure, args: Args) -> Result<String> {
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
