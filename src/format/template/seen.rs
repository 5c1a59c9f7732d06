//! Which names a piece of a template reads and writes.

use super::ast::{Arguments, Body, Expr, FilterCall, Kind, Macro, Name, Statement, Target};

/// Whether a body reads a name before it writes it, in the order of the text.
pub(super) fn reads(body: &Body, name: &str) -> bool {
    let (mut read, mut written) = (false, false);
    let mut walk = Walk(&mut |found: &Name, stored: bool| {
        if **found == *name {
            read |= !stored && !written;
            written |= stored;
        }
    });
    walk.statements(&body.statements);
    read
}

/// Whether a target or a body writes a name.
pub(super) fn stores(target: &Target, body: &Body, name: &str) -> bool {
    let mut stored = false;
    let mut walk = Walk(&mut |found: &Name, store: bool| stored |= store && **found == *name);
    walk.target(target);
    walk.statements(&body.statements);
    stored
}

/// Whether a body writes a name.
pub(super) fn body_stores(body: &Body, name: &str) -> bool {
    stores(&Target::Tuple(Vec::new()), body, name)
}

/// Calls its function with every name, and whether it is written.
pub(super) struct Walk<'f>(pub(super) &'f mut dyn FnMut(&Name, bool));

impl Walk<'_> {
    pub(super) fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            Kind::Data(_) | Kind::Break | Kind::Continue => {}
            Kind::Print(expr) => self.expr(expr),
            Kind::If(arms) => {
                for (condition, statements) in arms {
                    condition.iter().for_each(|c| self.expr(c));
                    self.statements(statements);
                }
            }
            Kind::For(parsed) => {
                self.target(&parsed.target);
                self.expr(&parsed.over);
                self.statements(&parsed.body.statements);
                if let Some(otherwise) = &parsed.otherwise {
                    self.statements(&otherwise.statements);
                }
                parsed.condition.iter().for_each(|c| self.expr(c));
            }
            Kind::Set(target, expr) => {
                self.target(target);
                self.expr(expr);
            }
            Kind::SetBlock(target, filters, body) => {
                self.target(target);
                self.filters(filters);
                self.statements(&body.statements);
            }
            Kind::With(values, body) => {
                values.iter().for_each(|(target, _)| self.target(target));
                values.iter().for_each(|(_, value)| self.expr(value));
                self.statements(&body.statements);
            }
            Kind::FilterBlock(filters, body) => {
                self.statements(&body.statements);
                self.filters(filters);
            }
            Kind::Macro(parsed) | Kind::Generation(parsed) => self.parsed_macro(parsed),
            Kind::Call(callee, arguments, caller) => {
                self.expr(callee);
                self.arguments(arguments);
                self.parsed_macro(caller);
            }
        }
    }

    fn parsed_macro(&mut self, parsed: &Macro) {
        parsed.parameters.iter().for_each(|name| (self.0)(name, true));
        parsed.defaults.iter().for_each(|default| self.expr(default));
        self.statements(&parsed.body.statements);
    }

    pub(super) fn filters(&mut self, filters: &[FilterCall]) {
        filters.iter().for_each(|filter| self.arguments(&filter.arguments));
    }

    pub(super) fn target(&mut self, target: &Target) {
        match target {
            Target::Name(name) => (self.0)(name, true),
            Target::Member(name, _) => (self.0)(name, false),
            Target::Tuple(targets) => targets.iter().for_each(|target| self.target(target)),
        }
    }

    pub(super) fn arguments(&mut self, arguments: &Arguments) {
        arguments.positional.iter().for_each(|expr| self.expr(expr));
        arguments.keyword.iter().for_each(|(_, expr)| self.expr(expr));
        arguments.list.iter().chain(&arguments.mapping).for_each(|expr| self.expr(expr));
    }

    pub(super) fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Literal(_) => {}
            Expr::Name(name) => (self.0)(name, false),
            Expr::Attribute(of, _) => self.expr(of),
            Expr::Item(of, index) => {
                self.expr(of);
                self.expr(index);
            }
            Expr::Slice(of, parts) => {
                self.expr(of);
                parts.iter().flatten().for_each(|part| self.expr(part));
            }
            Expr::Call(of, arguments)
            | Expr::Filter(of, _, arguments)
            | Expr::Test(of, _, arguments) => {
                self.expr(of);
                self.arguments(arguments);
            }
            Expr::Not(a) | Expr::Negative(a) | Expr::Positive(a) => self.expr(a),
            Expr::Binary(_, a, b) | Expr::And(a, b) | Expr::Or(a, b) => {
                self.expr(a);
                self.expr(b);
            }
            Expr::Compare(first, rest) => {
                self.expr(first);
                rest.iter().for_each(|(_, expr)| self.expr(expr));
            }
            Expr::Concat(items) | Expr::Tuple(items) | Expr::List(items) => {
                items.iter().for_each(|item| self.expr(item));
            }
            Expr::Conditional(condition, value, otherwise) => {
                self.expr(condition);
                self.expr(value);
                otherwise.iter().for_each(|expr| self.expr(expr));
            }
            Expr::Dict(items) => items.iter().for_each(|(key, value)| {
                self.expr(key);
                self.expr(value);
            }),
        }
    }
}
