//! Statements of a template, as jinja2's parser reads them with `{% generation %}`, `{% break %}`
//! and `{% continue %}`.
//!
//! **Source** jinja2 3.1 `parser.py`.

use std::sync::Arc;

use super::ast::{Body, Expr, FilterCall, For, Kind, Macro, Name, Statement, Target};
use super::fault::{Fault, Result, beyond, raised};
use super::lexer::tokens;
use super::token::Token;
use super::{names, seen};

/// How deep statements and expressions may nest.
const DEEPEST: usize = 100;

/// A template as a tree.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) body: Body,
    /// Whether it marks what the assistant says.
    pub(super) marks: bool,
}

/// Reads a template.
pub(super) fn parse(source: &str) -> Result<Program> {
    let tokens = tokens(source)?;
    let mut parser =
        Parser { tokens, at: 0, deep: 0, loops: 0, branches: 0, unknown: Vec::new(), marks: false };
    let statements = parser.statements(&[])?;
    if let Some(fault) = parser.unknown.into_iter().next() {
        return Err(fault);
    }
    let marks = parser.marks;
    let mut body = Body { statements, hidden: Vec::new() };
    names::hide(&mut body);
    Ok(Program { body, marks })
}

pub(super) struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    deep: usize,
    /// Loops around the statement, in its macro.
    loops: usize,
    /// Conditions around it: an unknown filter there is an error only when it is reached.
    pub(super) branches: usize,
    /// Filters and tests that are not there.
    pub(super) unknown: Vec<Fault>,
    marks: bool,
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    pub(super) fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub(super) fn line(&self) -> usize {
        self.tokens[self.at].1
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    pub(super) fn fault(&self, why: impl Into<String>) -> Fault {
        raised(why).at(self.line())
    }

    pub(super) fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Token::Operator(o) if *o == operator)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Token::Name(n) if **n == *name)
    }

    pub(super) fn skip_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_operator(&mut self, operator: &str) -> Result<()> {
        match self.skip_operator(operator) {
            true => Ok(()),
            false => Err(self.fault(format!("expected `{operator}`, found {}", self.found()))),
        }
    }

    pub(super) fn expect_name(&mut self) -> Result<Name> {
        match self.peek() {
            Token::Name(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.fault(format!("expected a name, found {}", self.found()))),
        }
    }

    /// What stands here, for messages.
    pub(super) fn found(&self) -> String {
        match self.peek() {
            Token::Name(name) => format!("`{name}`"),
            Token::Operator(operator) => format!("`{operator}`"),
            Token::Text(_) => "a text".into(),
            Token::Int(_) | Token::Float(_) => "a number".into(),
            Token::BlockBegin | Token::VariableBegin | Token::Data(_) => "text".into(),
            Token::BlockEnd => "the end of the statement".into(),
            Token::VariableEnd => "the end of the expression".into(),
            Token::End => "the end of the template".into(),
        }
    }

    /// Counts what nests.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.deep == DEEPEST {
            return Err(beyond(format!("templates that nest {DEEPEST} deep")).at(self.line()));
        }
        self.deep += 1;
        let result = inner(self);
        self.deep -= 1;
        result
    }

    /// Statements up to one of the tags `ends`, which becomes the next token; up to the end of the
    /// template if there is none.
    fn statements(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        let mut found = Vec::new();
        loop {
            let line = self.line();
            match self.next() {
                Token::Data(text) => found.push(Statement { line, kind: Kind::Data(text) }),
                Token::VariableBegin => {
                    let kind = Kind::Print(self.tuple(true, &[], false)?);
                    if self.next() != Token::VariableEnd {
                        self.at -= 1;
                        let why =
                            format!("expected the end of the expression, found {}", self.found());
                        return Err(self.fault(why));
                    }
                    found.push(Statement { line, kind });
                }
                Token::BlockBegin => {
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(found);
                    }
                    let line = self.line();
                    self.deeper(|parser| parser.statement(line, &mut found))?;
                    self.block_end()?;
                }
                _ if ends.is_empty() => return Ok(found),
                _ => {
                    let expected = ends.join("` or `");
                    return Err(
                        self.fault(format!("Unexpected end of template: expected `{expected}`"))
                    );
                }
            }
        }
    }

    fn block_end(&mut self) -> Result<()> {
        match self.peek() {
            Token::BlockEnd => {
                self.at += 1;
                Ok(())
            }
            _ => {
                Err(self
                    .fault(format!("expected the end of the statement, found {}", self.found())))
            }
        }
    }

    /// What follows a tag, up to one of `ends`, and which of them it was.
    fn block(&mut self, ends: &[&str]) -> Result<(Vec<Statement>, Name)> {
        self.skip_operator(":");
        self.block_end()?;
        let statements = self.statements(ends)?;
        Ok((statements, self.expect_name()?))
    }

    /// The same with a scope of its own.
    fn body(&mut self, end: &str) -> Result<Body> {
        Ok(Body { statements: self.block(&[end])?.0, hidden: Vec::new() })
    }

    fn statement(&mut self, line: usize, found: &mut Vec<Statement>) -> Result<()> {
        let Token::Name(tag) = self.peek().clone() else {
            return Err(self.fault("tag name expected"));
        };
        self.at += 1;
        let kind = match &*tag {
            "if" => self.parse_if()?,
            "for" => self.parse_for()?,
            "set" => self.parse_set()?,
            "with" => self.parse_with()?,
            "macro" => {
                let name = self.expect_name()?;
                let signature = self.signature()?;
                Kind::Macro(Arc::new(self.finish_macro(name, signature, "endmacro")?))
            }
            "call" => {
                let signature = match self.is_operator("(") {
                    true => self.signature()?,
                    false => (Vec::new(), Vec::new()),
                };
                let Expr::Call(callee, arguments) = self.expression(true)? else {
                    return Err(raised("expected call").at(line));
                };
                let caller = self.finish_macro("".into(), signature, "endcall")?;
                Kind::Call(*callee, *arguments, Arc::new(caller))
            }
            "generation" => {
                self.marks = true;
                let signature = (Vec::new(), Vec::new());
                Kind::Generation(Arc::new(self.finish_macro(
                    "".into(),
                    signature,
                    "endgeneration",
                )?))
            }
            "filter" => {
                let filters = self.filter_calls(true)?;
                Kind::FilterBlock(filters, self.body("endfilter")?)
            }
            "print" => {
                let mut first = true;
                while *self.peek() != Token::BlockEnd {
                    if !std::mem::take(&mut first) {
                        self.expect_operator(",")?;
                    }
                    let kind = Kind::Print(self.expression(true)?);
                    found.push(Statement { line, kind });
                }
                return Ok(());
            }
            "break" | "continue" if self.loops == 0 => {
                return Err(raised(format!("`{tag}` outside of a loop")).at(line));
            }
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "block" | "autoescape" => {
                return Err(beyond(format!("the statement `{tag}`")).at(line));
            }
            "extends" | "include" | "import" | "from" => {
                let why = format!("`{tag}` needs other templates, and a chat template has none");
                return Err(raised(why).at(line));
            }
            _ => return Err(raised(format!("Encountered unknown tag '{tag}'.")).at(line)),
        };
        found.push(Statement { line, kind });
        Ok(())
    }

    fn parse_if(&mut self) -> Result<Kind> {
        let mut arms = Vec::new();
        self.branches += 1;
        loop {
            let condition = self.tuple(false, &[], false)?;
            let (statements, end) = self.block(&["elif", "else", "endif"])?;
            arms.push((Some(condition), statements));
            match &*end {
                "elif" => {}
                "else" => {
                    arms.push((None, self.block(&["endif"])?.0));
                    break;
                }
                _ => break,
            }
        }
        self.branches -= 1;
        Ok(Kind::If(arms))
    }

    fn parse_for(&mut self) -> Result<Kind> {
        let line = self.line();
        let target = self.target(&["in"], false)?;
        if !self.skip_name("in") {
            return Err(self.fault(format!("expected `in`, found {}", self.found())));
        }
        let over = self.tuple(false, &["recursive"], false)?;
        let condition = match self.skip_name("if") {
            true => Some(self.expression(true)?),
            false => None,
        };
        let recursive = self.skip_name("recursive");
        // Unlike a condition, a loop begins a frame in which unknown filters are errors at once.
        let branches = std::mem::take(&mut self.branches);
        let loops = self.loops;
        self.loops = if recursive { 1 } else { loops + 1 };
        let (statements, end) = self.block(&["endfor", "else"])?;
        self.loops = if recursive { 0 } else { loops };
        let otherwise = match &*end {
            "else" => Some(self.body("endfor")?),
            _ => None,
        };
        self.loops = loops;
        self.branches = branches;
        let body = Body { statements, hidden: Vec::new() };
        let stores_loop = seen::stores(&target, &body, "loop")
            || otherwise.as_ref().is_some_and(|body| seen::body_stores(body, "loop"));
        if stores_loop {
            return Err(raised("Can't assign to special loop variable in for-loop target").at(line));
        }
        let extended = recursive || seen::reads(&body, "loop");
        let parsed = For { target, over, condition, recursive, extended, body, otherwise };
        Ok(Kind::For(Arc::new(parsed)))
    }

    fn parse_set(&mut self) -> Result<Kind> {
        let target = self.target(&[], true)?;
        if self.skip_operator("=") {
            return Ok(Kind::Set(target, self.tuple(true, &[], false)?));
        }
        let filters = self.filter_calls(false)?;
        Ok(Kind::SetBlock(target, filters, self.body("endset")?))
    }

    fn parse_with(&mut self) -> Result<Kind> {
        let mut values = Vec::new();
        while *self.peek() != Token::BlockEnd {
            if !values.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.target(&[], false)?;
            self.expect_operator("=")?;
            values.push((target, self.expression(true)?));
        }
        Ok(Kind::With(values, self.body("endwith")?))
    }

    fn signature(&mut self) -> Result<(Vec<Name>, Vec<Expr>)> {
        let (mut names, mut defaults) = (Vec::new(), Vec::new());
        self.expect_operator("(")?;
        while !self.is_operator(")") {
            if !names.is_empty() {
                self.expect_operator(",")?;
            }
            names.push(self.expect_name()?);
            if self.skip_operator("=") {
                defaults.push(self.expression(true)?);
            } else if !defaults.is_empty() {
                return Err(self.fault("non-default argument follows default argument"));
            }
        }
        self.expect_operator(")")?;
        Ok((names, defaults))
    }

    fn finish_macro(
        &mut self,
        name: Name,
        (parameters, defaults): (Vec<Name>, Vec<Expr>),
        end: &str,
    ) -> Result<Macro> {
        let line = self.line();
        let (loops, branches) =
            (std::mem::take(&mut self.loops), std::mem::take(&mut self.branches));
        let body = self.body(end)?;
        (self.loops, self.branches) = (loops, branches);
        let has = |name: &str| parameters.iter().any(|p| **p == *name);
        let reads = |name: &str| seen::reads(&body, name);
        let caller = parameters.iter().position(|p| **p == *"caller");
        let reads_caller = reads("caller");
        if caller.is_some_and(|at| at < parameters.len() - defaults.len()) && reads_caller {
            let why = "the special \"caller\" argument must be omitted or be given a default";
            return Err(raised(why).at(line));
        }
        let reads_kwargs = reads("kwargs") && !has("kwargs");
        let reads_varargs = reads("varargs") && !has("varargs");
        Ok(Macro { name, parameters, defaults, body, reads_caller, reads_kwargs, reads_varargs })
    }

    /// `upper | trim(…)`, behind a bar unless it is the first of a filter block.
    fn filter_calls(&mut self, mut starts: bool) -> Result<Vec<FilterCall>> {
        let mut found = Vec::new();
        while std::mem::take(&mut starts) || self.skip_operator("|") {
            let (name, arguments) = self.filter_name_and_arguments()?;
            found.push(FilterCall { name, arguments });
        }
        Ok(found)
    }

    /// What is assigned to; with `members`, a namespace's attribute may be.
    fn target(&mut self, ends: &[&str], members: bool) -> Result<Target> {
        let mut found = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.tuple_ends(ends) {
                break;
            }
            found.push(self.one_target(members)?);
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        match found.pop() {
            Some(only) if !is_tuple => Ok(only),
            Some(last) => {
                found.push(last);
                Ok(Target::Tuple(found))
            }
            None => {
                Err(self.fault(format!("expected a name to assign to, found {}", self.found())))
            }
        }
    }

    fn one_target(&mut self, members: bool) -> Result<Target> {
        if self.skip_operator("(") {
            let inner = self.deeper(|parser| parser.target(&[], false))?;
            self.expect_operator(")")?;
            return Ok(inner);
        }
        let name = self.expect_name()?;
        if matches!(&*name, "true" | "false" | "True" | "False" | "none" | "None") {
            return Err(self.fault("can't assign to 'const'"));
        }
        if members && self.skip_operator(".") {
            return Ok(Target::Member(name, self.expect_name()?));
        }
        Ok(Target::Name(name))
    }
}
