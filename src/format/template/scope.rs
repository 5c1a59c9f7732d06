//! Where names have their values.

use std::cell::RefCell;
use std::rc::Rc;

use super::ast::Name;

/// Names of a body and their values V, inside of those around it.
pub(super) struct Scope<V> {
    /// `None` hides a name of the outer scopes.
    names: RefCell<Vec<(Name, Option<V>)>>,
    around: Option<Rc<Scope<V>>>,
}

impl<V: Clone> Scope<V> {
    /// The outermost one.
    pub(super) fn outermost() -> Rc<Scope<V>> {
        Rc::new(Scope { names: RefCell::default(), around: None })
    }

    /// A scope inside of another one, with names that have no value yet.
    pub(super) fn inside(around: &Rc<Scope<V>>, hidden: &[Name]) -> Rc<Scope<V>> {
        let names = hidden.iter().map(|name| (name.clone(), None)).collect();
        Rc::new(Scope { names: RefCell::new(names), around: Some(around.clone()) })
    }

    pub(super) fn set(&self, name: &Name, value: V) {
        self.put(name, Some(value));
    }

    /// A name without a value, whatever it has outside.
    pub(super) fn hide(&self, name: &Name) {
        self.put(name, None);
    }

    fn put(&self, name: &Name, value: Option<V>) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => names.push((name.clone(), value)),
        }
    }

    /// The value of a name; the inner `None` is a name that has none yet.
    pub(super) fn get(&self, name: &str) -> Option<Option<V>> {
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
