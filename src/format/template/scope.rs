//! Where names have their values.

use std::cell::RefCell;
use std::rc::Rc;

use super::ast::Name;
use super::value::Value;

/// Names of a body, inside of those around it.
#[derive(Default)]
pub(super) struct Scope {
    /// `None` hides a name of the outer scopes.
    names: RefCell<Vec<(Name, Option<Value>)>>,
    around: Option<Rc<Scope>>,
}

impl Scope {
    /// A scope inside of another one, with names that have no value yet.
    pub(super) fn inside(around: &Rc<Scope>, hidden: &[Name]) -> Rc<Scope> {
        let names = hidden.iter().map(|name| (name.clone(), None)).collect();
        Rc::new(Scope { names: RefCell::new(names), around: Some(around.clone()) })
    }

    pub(super) fn set(&self, name: &Name, value: Value) {
        self.put(name, Some(value));
    }

    /// A name without a value, whatever it has outside.
    pub(super) fn hide(&self, name: &Name) {
        self.put(name, None);
    }

    fn put(&self, name: &Name, value: Option<Value>) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => names.push((name.clone(), value)),
        }
    }

    /// The value of a name; the inner `None` is a name that has none yet.
    pub(super) fn get(&self, name: &str) -> Option<Option<Value>> {
        let mut scope = self;
        loop {
            if let Some((_, value)) =
                scope.names.borrow().iter().find(|(known, _)| **known == *name)
            {
                return Some(value.clone());
            }
            scope = scope.around.as_deref()?;
        }
    }

    /// Forgets all names: a macro and the scope it was defined in hold each other.
    pub(super) fn clear(&self) {
        let names = std::mem::take(&mut *self.names.borrow_mut());
        drop(names);
    }
}
