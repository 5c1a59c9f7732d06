//! Statements, run one after another.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::args::Args;
use super::ast::{Body, FilterCall, For, Kind, Statement, Target};
use super::eval::{eval, lookup};
use super::fault::{Result, raised};
use super::source::{self, Source};
use super::value::{Closure, Iter, Loop, Machine, Scope, Value};
use super::{filters, print};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Through,
    Break,
    Continue,
}

/// Where text goes.
pub(super) struct Out {
    pub(super) text: String,
    /// Whether it is the template's own, rather than a macro's.
    pub(super) is_root: bool,
}

impl Out {
    pub(super) fn inner() -> Out {
        Out { text: String::new(), is_root: false }
    }

    fn wrote(&self, machine: &mut Machine) -> Result<()> {
        if self.is_root {
            machine.written = self.text.len();
        }
        super::fault::room(self.text.len())
    }
}

/// Runs statements.
pub(super) fn run(
    machine: &mut Machine,
    statements: &[Statement],
    scope: &Rc<Scope>,
    out: &mut Out,
) -> Result<Flow> {
    for statement in statements {
        let flow =
            step(machine, statement, scope, out).map_err(|fault| fault.at(statement.line))?;
        if flow != Flow::Through {
            return Ok(flow);
        }
    }
    Ok(Flow::Through)
}

fn step(
    machine: &mut Machine,
    statement: &Statement,
    scope: &Rc<Scope>,
    out: &mut Out,
) -> Result<Flow> {
    machine.descend()?;
    match &statement.kind {
        Kind::Data(text) => {
            out.text.push_str(text);
            out.wrote(machine)?;
        }
        Kind::Print(expr) => {
            let value = eval(machine, expr, scope)?;
            print::write(machine, &value, &mut out.text)?;
            out.wrote(machine)?;
        }
        Kind::If(arms) => {
            for (condition, statements) in arms {
                let holds = match condition {
                    Some(condition) => eval(machine, condition, scope)?.truth(),
                    None => true,
                };
                if holds {
                    return run(machine, statements, scope, out);
                }
            }
        }
        Kind::For(parsed) => {
            let over = eval(machine, &parsed.over, scope)?;
            if !parsed.recursive {
                return run_loop(machine, parsed, &over, scope, 0, out);
            }
            let text = run_again(machine, parsed, &over, scope, 0)?;
            out.text.push_str(&text);
            out.wrote(machine)?;
        }
        Kind::Set(target, expr) => {
            check_members(target, scope)?;
            let value = eval(machine, expr, scope)?;
            assign(machine, target, value, scope)?;
        }
        Kind::SetBlock(target, filters, body) => {
            let mut inner = Out::inner();
            let flow = run_body(machine, body, scope, &mut inner)?;
            if flow != Flow::Through {
                return Ok(flow);
            }
            let value = filtered(machine, inner.text, filters, scope)?;
            assign(machine, target, value, scope)?;
        }
        Kind::With(values, body) => {
            let inner = Scope::inside(scope, &body.hidden);
            for (target, value) in values {
                let value = eval(machine, value, scope)?;
                assign(machine, target, value, &inner)?;
            }
            return run(machine, &body.statements, &inner, out);
        }
        Kind::FilterBlock(filters, body) => {
            let mut inner = Out::inner();
            let flow = run_body(machine, body, scope, &mut inner)?;
            if flow != Flow::Through {
                return Ok(flow);
            }
            let value = filtered(machine, inner.text, filters, scope)?;
            print::write(machine, &value, &mut out.text)?;
            out.wrote(machine)?;
        }
        Kind::Macro(parsed) => {
            let value = closure(machine, parsed, scope);
            scope.set(&parsed.name, value);
        }
        Kind::Call(callee, arguments, caller) => {
            let caller = closure(machine, caller, scope);
            let callee = eval(machine, callee, scope)?;
            let mut args = super::eval::arguments(machine, arguments, scope)?;
            if args.keyword.iter().any(|(name, _)| **name == *"caller") {
                return Err(raised("got multiple values for keyword argument 'caller'"));
            }
            args.keyword.push(("caller".into(), caller));
            let value = super::call::call(machine, &callee, args)?;
            print::write(machine, &value, &mut out.text)?;
            out.wrote(machine)?;
        }
        Kind::Generation(parsed) => {
            let body = Closure { parsed: parsed.clone(), scope: scope.clone() };
            let text = (machine.again)(machine, &Value::Macro(Rc::new(body)), Args::default())?;
            machine.marked.push((machine.written, text.chars().count()));
            out.text.push_str(&text);
            out.wrote(machine)?;
        }
        Kind::Break => return Ok(Flow::Break),
        Kind::Continue => return Ok(Flow::Continue),
    }
    Ok(Flow::Through)
}

fn run_body(machine: &mut Machine, body: &Body, scope: &Rc<Scope>, out: &mut Out) -> Result<Flow> {
    let inner = Scope::inside(scope, &body.hidden);
    run(machine, &body.statements, &inner, out)
}

fn filtered(
    machine: &mut Machine,
    text: String,
    calls: &[FilterCall],
    scope: &Rc<Scope>,
) -> Result<Value> {
    let mut value = Value::text(text);
    for call in calls {
        let args = super::eval::arguments(machine, &call.arguments, scope)?;
        value = filters::apply(machine, &call.name, value, args)?;
    }
    Ok(value)
}

fn closure(machine: &mut Machine, parsed: &Arc<super::ast::Macro>, scope: &Rc<Scope>) -> Value {
    machine.closures.push(scope.clone());
    Value::Macro(Rc::new(Closure { parsed: parsed.clone(), scope: scope.clone() }))
}

/// Only namespaces have members that can be assigned, which jinja2 checks before it computes the
/// value.
fn check_members(target: &Target, scope: &Rc<Scope>) -> Result<()> {
    match target {
        Target::Name(_) => Ok(()),
        Target::Tuple(targets) => {
            targets.iter().try_for_each(|target| check_members(target, scope))
        }
        Target::Member(name, _) => match lookup(name, scope)? {
            Value::Namespace(_) => Ok(()),
            _ => Err(raised("cannot assign attribute on non-namespace object")),
        },
    }
}

/// Gives a value to a name, a namespace's member, or its elements to several.
pub(super) fn assign(
    machine: &mut Machine,
    target: &Target,
    value: Value,
    scope: &Rc<Scope>,
) -> Result<()> {
    match target {
        Target::Name(name) => scope.set(name, value),
        Target::Member(name, member) => {
            let Value::Namespace(at) = lookup(name, scope)? else {
                return Err(raised("cannot assign attribute on non-namespace object"));
            };
            machine.set_member(at, member, value)?;
        }
        Target::Tuple(targets) => {
            let values = match &value {
                Value::Undefined(_) => Vec::new(),
                value => source::elements(machine, value)?,
            };
            let (found, expected) = (values.len(), targets.len());
            if found != expected {
                return Err(raised(match found > expected {
                    true => format!("too many values to unpack (expected {expected})"),
                    false => {
                        format!("not enough values to unpack (expected {expected}, got {found})")
                    }
                }));
            }
            for (target, value) in targets.iter().zip(values) {
                assign(machine, target, value, scope)?;
            }
        }
    }
    Ok(())
}

/// The text of a recursive loop.
pub(super) fn run_again(
    machine: &mut Machine,
    parsed: &Arc<For>,
    over: &Value,
    scope: &Rc<Scope>,
    depth0: usize,
) -> Result<String> {
    let mut inner = Out::inner();
    run_loop(machine, parsed, over, scope, depth0, &mut inner)?;
    Ok(inner.text)
}

fn run_loop(
    machine: &mut Machine,
    parsed: &Arc<For>,
    over: &Value,
    scope: &Rc<Scope>,
    depth0: usize,
    out: &mut Out,
) -> Result<Flow> {
    let mut source = Source::new(over)?;
    let mut length = source::length(over);
    if parsed.condition.is_some() {
        length = None;
        source = chosen(parsed, over, source, scope)?;
    }
    let state = Rc::new(Loop {
        source: RefCell::new(source),
        length: Cell::new(length),
        index0: Cell::new(0),
        depth0,
        current: RefCell::default(),
        before: RefCell::default(),
        after: RefCell::default(),
        changed: RefCell::default(),
        again: parsed.recursive.then(|| (parsed.clone(), scope.clone())),
    });
    let mut begun = false;
    // Like jinja2's, it is cleared only where a body came to its end: not by `continue`, not by
    // `break`.
    let mut none = true;
    while let Some(value) = state.next(machine)? {
        state.index0.set(if begun { state.index0.get() + 1 } else { 0 });
        begun = true;
        let inner = Scope::inside(scope, &parsed.body.hidden);
        if parsed.extended {
            inner.set(&"loop".into(), Value::Loop(state.clone()));
            let before = state.current.replace(Some(value.clone()));
            state.before.replace(before);
        }
        assign(machine, &parsed.target, value, &inner)?;
        match run(machine, &parsed.body.statements, &inner, out)? {
            Flow::Through => none = false,
            Flow::Continue => {}
            Flow::Break => break,
        }
    }
    match &parsed.otherwise {
        Some(otherwise) if none => run_body(machine, otherwise, scope, out),
        _ => Ok(Flow::Through),
    }
}

/// The elements for which a loop's condition holds, asked as they are needed.
fn chosen(
    parsed: &Arc<For>,
    over: &Value,
    mut source: Source,
    scope: &Rc<Scope>,
) -> Result<Source> {
    let (parsed, scope) = (parsed.clone(), scope.clone());
    let iter = Iter::value("generator", &[over], move |machine| {
        while let Some(value) = source.next(machine)? {
            let inner = Scope::inside(&scope, &[]);
            assign(machine, &parsed.target, value.clone(), &inner)?;
            let Some(condition) = &parsed.condition else { return Ok(Some(value)) };
            if eval(machine, condition, &inner)?.truth() {
                return Ok(Some(value));
            }
        }
        Ok(None)
    })?;
    Source::new(&iter)
}

impl Loop {
    /// The next element.
    fn next(&self, machine: &mut Machine) -> Result<Option<Value>> {
        match self.after.take() {
            Some(value) => Ok(Some(value)),
            None => self.source.borrow_mut().next(machine),
        }
    }

    /// The next element, which stays the next.
    pub(super) fn peek(&self, machine: &mut Machine) -> Result<Option<Value>> {
        let next = self.next(machine)?;
        self.after.replace(next.clone());
        Ok(next)
    }

    /// The number of elements; all are made if that takes it.
    pub(super) fn length(&self, machine: &mut Machine) -> Result<usize> {
        if let Some(length) = self.length.get() {
            return Ok(length);
        }
        let rest = self.source.borrow().clone().all(machine)?;
        let after = usize::from(self.after.borrow().is_some());
        let length = rest.len() + self.index0.get() + 1 + after;
        let rest = Value::list(rest)?;
        self.source.replace(Source::new(&rest)?);
        self.length.set(Some(length));
        Ok(length)
    }
}
