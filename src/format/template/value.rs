//! Values of a template, as Python has them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{For, Macro, Name};
use super::fault::{Result, beyond, raised};
use super::{machine, scope};

/// How deep lists and the like may lie in each other.
const DEEPEST: u16 = 200;

#[derive(Clone)]
pub(super) enum Value {
    /// What a name or key without value gives, with the error that its use raises.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Rc<str>),
    /// A text that is escaped for HTML. It can be written, compared and joined; more would need
    /// escaping.
    Markup(Rc<str>),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    Range(Range),
    /// What is made as it is read, once: generators and reversed lists.
    Iterator(Rc<Iter>),
    /// Its place in [`Machine::namespaces`].
    Namespace(usize),
    Loop(Rc<Loop>),
    Macro(Rc<Closure>),
    Function(&'static str),
    /// A method and what it belongs to.
    Method(Rc<(Value, Name)>),
    Cycler(Rc<(Rc<Items>, Cell<usize>)>),
    Joiner(Rc<(Rc<str>, Cell<bool>)>),
}

/// Elements of a list or tuple.
pub(super) struct Items {
    pub(super) values: Vec<Value>,
    /// Whether it is a pair of `groupby`, whose parts have names.
    pub(super) is_group: bool,
    depth: u16,
}

impl Items {
    /// **Errors** if elements lie too deep in each other.
    pub(super) fn new(values: Vec<Value>) -> Result<Rc<Items>> {
        let depth = deeper(values.iter())?;
        Ok(Rc::new(Items { values, is_group: false, depth }))
    }

    pub(super) fn group(key: Value, list: Value) -> Result<Rc<Items>> {
        let values = vec![key, list];
        let depth = deeper(values.iter())?;
        Ok(Rc::new(Items { values, is_group: true, depth }))
    }
}

/// A mapping in the order of its keys' first assignment.
#[derive(Default)]
pub(super) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    depth: u16,
}

impl Dict {
    /// From pairs; a later value of a key takes the place of an earlier one.
    pub(super) fn new(pairs: impl IntoIterator<Item = (Value, Value)>) -> Result<Dict> {
        let mut dict = Dict::default();
        for (key, value) in pairs {
            dict.insert(key, value)?;
        }
        Ok(dict)
    }

    /// From pairs whose keys differ.
    pub(super) fn of_distinct(entries: Vec<(Value, Value)>) -> Result<Dict> {
        let depth = deeper(entries.iter().map(|(_, value)| value))?;
        Ok(Dict { entries, depth })
    }

    pub(super) fn insert(&mut self, key: Value, value: Value) -> Result<()> {
        key.check_hashable()?;
        self.depth = self.depth.max(deeper([&key, &value].into_iter())?);
        match self.entries.iter_mut().find(|(known, _)| known.equals(&key)) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &Value) -> Option<&Value> {
        match key {
            Value::Text(text) => self.get_text(text),
            key => self.entries.iter().find(|(known, _)| known.equals(key)).map(|(_, v)| v),
        }
    }

    pub(super) fn get_text(&self, key: &str) -> Option<&Value> {
        let is = |known: &Value| match known {
            Value::Text(known) | Value::Markup(known) => **known == *key,
            _ => false,
        };
        self.entries.iter().find(|(known, _)| is(known)).map(|(_, value)| value)
    }
}

fn deeper<'v>(values: impl Iterator<Item = &'v Value>) -> Result<u16> {
    let depth = 1 + values.map(Value::depth).max().unwrap_or(0);
    match depth > DEEPEST {
        true => Err(beyond(format!("values that lie more than {DEEPEST} deep in each other"))),
        false => Ok(depth),
    }
}

/// Which side of a dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

/// Python's `range`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: i128,
    pub(super) stop: i128,
    pub(super) step: i128,
}

impl Range {
    pub(super) fn len(&self) -> usize {
        let (span, step) = match self.step > 0 {
            true => (self.stop.saturating_sub(self.start), self.step),
            false => (self.start.saturating_sub(self.stop), self.step.saturating_neg()),
        };
        let count = if span <= 0 { 0 } else { (span - 1) / step + 1 };
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    pub(super) fn get(&self, i: usize) -> Option<Value> {
        let i = (i < self.len()).then_some(i as i128)?;
        Some(Value::Int(self.start + i * self.step))
    }
}

/// What a template has while it is rendered.
pub(super) type Machine = machine::Machine<Value, Args>;

/// Where names have their values.
pub(super) type Scope = scope::Scope<Value>;

/// What a call is given.
#[derive(Clone, Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) keyword: Vec<(Name, Value)>,
}

/// Elements one after another.
#[derive(Clone)]
pub(super) enum Source {
    Empty,
    Items(Rc<Items>, usize),
    /// A text and the byte that comes next.
    Characters(Rc<str>, usize),
    View(View, Rc<Dict>, usize),
    Range(Range, usize),
    Iterator(Rc<Iter>),
}

type Next = Box<dyn FnMut(&mut Machine) -> Result<Option<Value>>>;

/// What gives its elements once.
pub(super) struct Iter {
    /// Its type in Python.
    pub(super) kind: &'static str,
    depth: u16,
    next: RefCell<Next>,
}

impl Iter {
    /// `of` are the values that it is made from.
    pub(super) fn value(
        kind: &'static str,
        of: &[&Value],
        next: impl FnMut(&mut Machine) -> Result<Option<Value>> + 'static,
    ) -> Result<Value> {
        let depth = deeper(of.iter().copied())?;
        Ok(Value::Iterator(Rc::new(Iter { kind, depth, next: RefCell::new(Box::new(next)) })))
    }

    pub(super) fn next(&self, machine: &mut Machine) -> Result<Option<Value>> {
        match self.next.try_borrow_mut() {
            Ok(mut next) => next(machine),
            Err(_) => Err(raised("generator already executing")),
        }
    }
}

/// A loop that is being run.
pub(super) struct Loop {
    pub(super) source: RefCell<Source>,
    /// Elements, where their number is known before they are read.
    pub(super) length: Cell<Option<usize>>,
    pub(super) index0: Cell<usize>,
    pub(super) depth0: usize,
    pub(super) current: RefCell<Option<Value>>,
    pub(super) before: RefCell<Option<Value>>,
    /// The next element, where it was asked for.
    pub(super) after: RefCell<Option<Value>>,
    pub(super) changed: RefCell<Option<Vec<Value>>>,
    /// What a recursive loop runs again.
    pub(super) again: Option<(Arc<For>, Rc<Scope>)>,
}

/// A macro and the scope that it was defined in.
pub(super) struct Closure {
    pub(super) parsed: Arc<Macro>,
    pub(super) scope: Rc<Scope>,
}

impl Value {
    pub(super) fn text(text: impl AsRef<str>) -> Value {
        Value::Text(text.as_ref().into())
    }

    pub(super) fn list(values: Vec<Value>) -> Result<Value> {
        Ok(Value::List(Items::new(values)?))
    }

    pub(super) fn tuple(values: Vec<Value>) -> Result<Value> {
        Ok(Value::Tuple(Items::new(values)?))
    }

    pub(super) fn undefined(why: impl AsRef<str>) -> Value {
        Value::Undefined(why.as_ref().into())
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    fn depth(&self) -> u16 {
        match self {
            Value::List(items) | Value::Tuple(items) => items.depth,
            Value::Dict(dict) | Value::View(_, dict) => dict.depth,
            Value::Iterator(iter) => iter.depth,
            Value::Method(method) => method.0.depth(),
            Value::Cycler(cycler) => cycler.0.depth,
            _ => 0,
        }
    }

    /// Its type's name in Python.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::Markup(_) => "Markup",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(View::Keys, _) => "dict_keys",
            Value::View(View::Values, _) => "dict_values",
            Value::View(View::Items, _) => "dict_items",
            Value::Range(_) => "range",
            Value::Iterator(iter) => iter.kind,
            Value::Namespace(_) => "TemplateNamespace",
            Value::Loop(_) => "LoopContext",
            Value::Macro(_) => "Macro",
            Value::Function(_) => "function",
            Value::Method(_) => "builtin_function_or_method",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
        }
    }

    /// Whether a condition on it holds.
    pub(super) fn truth(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(n) => *n != 0,
            Value::Float(x) => *x != 0.0,
            Value::Text(text) | Value::Markup(text) => !text.is_empty(),
            Value::List(items) | Value::Tuple(items) => !items.values.is_empty(),
            Value::Dict(dict) | Value::View(_, dict) => !dict.entries.is_empty(),
            Value::Range(range) => range.len() > 0,
            _ => true,
        }
    }

    /// A whole number; `True` is one, too.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Bool(b) => Some(i128::from(*b)),
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// A text that needs no escaping.
    pub(super) fn as_text(&self) -> Option<&Rc<str>> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// **Errors** for what Python does not take as a key.
    pub(super) fn check_hashable(&self) -> Result<()> {
        match self {
            Value::List(_) | Value::Dict(_) | Value::View(..) => {
                Err(raised(format!("unhashable type: '{}'", self.kind())))
            }
            Value::Tuple(items) => items.values.iter().try_for_each(Value::check_hashable),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str(self.kind())
    }
}
