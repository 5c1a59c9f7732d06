//! Which names of a scope hide a variable of the conversation before they are assigned.
//!
//! jinja2 decides for every scope, before anything runs, where each of its names comes from. A name
//! that is written there before it is read, in no branch, and that no scope around it knows, is
//! undefined until then: also for a loop or a macro that stands before the assignment and would
//! find a variable of that name.
//!
//! **Source** jinja2 3.1 `idtracking.py`.

use std::sync::Arc;

use super::ast::{Body, Expr, Kind, Macro, Name, Statement, Target};
use super::seen::Walk;

/// The names that one scope knows, and those that it hides.
#[derive(Default)]
struct Symbols<'p> {
    around: Option<&'p Symbols<'p>>,
    known: Vec<Name>,
    hidden: Vec<Name>,
}

impl Symbols<'_> {
    fn finds(&self, name: &Name) -> bool {
        self.known.contains(name) || self.around.is_some_and(|around| around.finds(name))
    }

    fn load(&mut self, name: &Name) {
        if !self.finds(name) {
            self.known.push(name.clone());
        }
    }

    fn declare(&mut self, name: &Name) {
        if !self.known.contains(name) {
            self.known.push(name.clone());
        }
    }

    fn store(&mut self, name: &Name) {
        if !self.known.contains(name) {
            if !self.finds(name) {
                self.hidden.push(name.clone());
            }
            self.known.push(name.clone());
        }
    }

    /// The names of an expression or target, as `walk` goes through them.
    fn visit(&mut self, walk: impl FnOnce(&mut Walk)) {
        walk(&mut Walk(&mut |name, stored| match stored {
            true => self.store(name),
            false => self.load(name),
        }));
    }

    fn declare_target(&mut self, target: &Target) {
        Walk(&mut |name, _| self.declare(name)).target(target);
    }

    fn statements(&mut self, statements: &[Statement]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    /// What a statement means for the scope that it stands in; what has a scope of its own is not
    /// looked into.
    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            Kind::Data(_) | Kind::Break | Kind::Continue | Kind::Generation(_) => {}
            Kind::Print(expr) => self.visit(|walk| walk.expr(expr)),
            Kind::If(arms) => self.branches(arms),
            Kind::For(parsed) => self.visit(|walk| walk.expr(&parsed.over)),
            Kind::Set(target, expr) => {
                self.visit(|walk| walk.expr(expr));
                self.visit(|walk| walk.target(target));
            }
            Kind::SetBlock(target, ..) => self.visit(|walk| walk.target(target)),
            Kind::With(values, _) => {
                values.iter().for_each(|(_, value)| self.visit(|walk| walk.expr(value)));
            }
            Kind::FilterBlock(filters, _) => self.visit(|walk| walk.filters(filters)),
            Kind::Macro(parsed) => self.store(&parsed.name),
            Kind::Call(callee, arguments, _) => {
                self.visit(|walk| walk.expr(callee));
                self.visit(|walk| walk.arguments(arguments));
            }
        }
    }

    /// A name that only a branch writes is looked up outside.
    fn branches(&mut self, arms: &[(Option<Expr>, Vec<Statement>)]) {
        let hidden = self.hidden.clone();
        for (condition, statements) in arms {
            condition.iter().for_each(|condition| self.visit(|walk| walk.expr(condition)));
            self.statements(statements);
        }
        self.hidden = hidden;
    }
}

/// Fills [`Body::hidden`] of a template and all scopes in it.
pub(super) fn hide(body: &mut Body) {
    let mut symbols = Symbols::default();
    symbols.statements(&body.statements);
    body.hidden.clone_from(&symbols.hidden);
    inside(&mut body.statements, &symbols);
}

/// A scope inside of `around`, whose own names `begin` declares.
fn scope(body: &mut Body, around: &Symbols, begin: impl FnOnce(&mut Symbols)) {
    let mut symbols = Symbols { around: Some(around), ..Symbols::default() };
    begin(&mut symbols);
    symbols.statements(&body.statements);
    body.hidden.clone_from(&symbols.hidden);
    inside(&mut body.statements, &symbols);
}

fn macro_scope(parsed: &mut Arc<Macro>, around: &Symbols) {
    let Some(parsed) = Arc::get_mut(parsed) else { return };
    let (parameters, defaults) = (&parsed.parameters, &parsed.defaults);
    let special = [
        (parsed.reads_caller, "caller"),
        (parsed.reads_kwargs, "kwargs"),
        (parsed.reads_varargs, "varargs"),
    ];
    scope(&mut parsed.body, around, |symbols| {
        parameters.iter().for_each(|name| symbols.declare(name));
        defaults.iter().for_each(|default| symbols.visit(|walk| walk.expr(default)));
        for (_, name) in special.into_iter().filter(|(reads, _)| *reads) {
            symbols.declare(&name.into());
        }
    });
}

fn inside(statements: &mut [Statement], around: &Symbols) {
    for statement in statements {
        match &mut statement.kind {
            Kind::If(arms) => arms.iter_mut().for_each(|(_, body)| inside(body, around)),
            Kind::For(parsed) => {
                let Some(parsed) = Arc::get_mut(parsed) else { continue };
                let (target, extended) = (&parsed.target, parsed.extended);
                scope(&mut parsed.body, around, |symbols| {
                    if extended {
                        symbols.declare(&"loop".into());
                    }
                    symbols.declare_target(target);
                });
                if let Some(otherwise) = &mut parsed.otherwise {
                    scope(otherwise, around, |_| {});
                }
            }
            Kind::SetBlock(_, _, body) | Kind::FilterBlock(_, body) => scope(body, around, |_| {}),
            Kind::With(values, body) => scope(body, around, |symbols| {
                values.iter().for_each(|(target, _)| symbols.declare_target(target));
            }),
            Kind::Macro(parsed) | Kind::Generation(parsed) | Kind::Call(_, _, parsed) => {
                macro_scope(parsed, around);
            }
            Kind::Data(_) | Kind::Print(_) | Kind::Set(..) | Kind::Break | Kind::Continue => {}
        }
    }
}
