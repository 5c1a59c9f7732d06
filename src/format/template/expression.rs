//! Expressions of a template, in jinja2's order of precedence.
//!
//! **Source** jinja2 3.1 `parser.py`.

use super::ast::{Arguments, Comparison, Expr, Literal, Name, Operator};
use super::fault::{Result, raised};
use super::filters::names as filter_names;
use super::parser::Parser;
use super::tests;
use super::token::Token;

/// Links of a chain such as `a + b + c`: each lies one deeper in the tree.
const LONGEST_CHAIN: usize = 200;

/// What makes one expression of two.
type Join = fn(Box<Expr>, Box<Expr>) -> Expr;

impl Parser {
    pub(super) fn tuple_ends(&self, ends: &[&str]) -> bool {
        matches!(self.peek(), Token::VariableEnd | Token::BlockEnd)
            || self.is_operator(")")
            || ends.iter().any(|end| self.is_name(end))
    }

    /// An expression, or several with commas, which are a tuple.
    pub(super) fn tuple(
        &mut self,
        conditional: bool,
        ends: &[&str],
        parentheses: bool,
    ) -> Result<Expr> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        while !self.tuple_ends(ends) {
            items.push(self.expression(conditional)?);
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(only) = items.pop() {
                return Ok(only);
            }
            if !parentheses {
                return Err(self.fault(format!("Expected an expression, got {}", self.found())));
            }
        }
        Ok(Expr::Tuple(items))
    }

    pub(super) fn expression(&mut self, conditional: bool) -> Result<Expr> {
        self.deeper(|parser| match conditional {
            true => parser.conditional(),
            false => parser.or(),
        })
    }

    fn conditional(&mut self) -> Result<Expr> {
        let unknown = self.unknown.len();
        let mut value = self.or()?;
        while self.skip_name("if") {
            let condition = Box::new(self.or()?);
            let otherwise = match self.skip_name("else") {
                true => Some(Box::new(self.deeper(Self::conditional)?)),
                false => None,
            };
            value = Expr::Conditional(condition, Box::new(value), otherwise);
            self.unknown.truncate(unknown);
        }
        Ok(value)
    }

    /// `inner` joined by what `join` finds between.
    fn chain(
        &mut self,
        inner: fn(&mut Self) -> Result<Expr>,
        join: fn(&mut Self) -> Option<Join>,
    ) -> Result<Expr> {
        let mut left = inner(self)?;
        let mut links = 0;
        while let Some(make) = join(self) {
            links += 1;
            if links > LONGEST_CHAIN {
                return Err(self.fault("an expression of more than 200 parts in a row"));
            }
            left = make(Box::new(left), Box::new(inner(self)?));
        }
        Ok(left)
    }

    fn or(&mut self) -> Result<Expr> {
        self.chain(Self::and, |parser| parser.skip_name("or").then_some(Expr::Or))
    }

    fn and(&mut self) -> Result<Expr> {
        self.chain(Self::not, |parser| parser.skip_name("and").then_some(Expr::And))
    }

    fn not(&mut self) -> Result<Expr> {
        match self.skip_name("not") {
            true => Ok(Expr::Not(Box::new(self.deeper(Self::not)?))),
            false => self.compare(),
        }
    }

    fn compare(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.peek() {
                Token::Operator("==") => Comparison::Equal,
                Token::Operator("!=") => Comparison::NotEqual,
                Token::Operator("<") => Comparison::Less,
                Token::Operator("<=") => Comparison::LessEqual,
                Token::Operator(">") => Comparison::Greater,
                Token::Operator(">=") => Comparison::GreaterEqual,
                Token::Name(name) if **name == *"in" => Comparison::In,
                Token::Name(name)
                    if **name == *"not"
                        && matches!(self.peek_second(), Token::Name(n) if **n == *"in") =>
                {
                    self.next();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.next();
            rest.push((comparison, self.sum()?));
        }
        match rest.is_empty() {
            true => Ok(first),
            false => Ok(Expr::Compare(Box::new(first), rest)),
        }
    }

    fn sum(&mut self) -> Result<Expr> {
        self.chain(Self::concat, |parser| {
            if parser.skip_operator("+") {
                return Some(|a, b| Expr::Binary(Operator::Add, a, b));
            }
            parser.skip_operator("-").then_some(|a, b| Expr::Binary(Operator::Sub, a, b))
        })
    }

    fn concat(&mut self) -> Result<Expr> {
        let first = self.product()?;
        if !self.is_operator("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_operator("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    fn product(&mut self) -> Result<Expr> {
        self.chain(Self::power, |parser| {
            let make: fn(Box<Expr>, Box<Expr>) -> Expr = match parser.peek() {
                Token::Operator("*") => |a, b| Expr::Binary(Operator::Mul, a, b),
                Token::Operator("/") => |a, b| Expr::Binary(Operator::Div, a, b),
                Token::Operator("//") => |a, b| Expr::Binary(Operator::FloorDiv, a, b),
                Token::Operator("%") => |a, b| Expr::Binary(Operator::Mod, a, b),
                _ => return None,
            };
            parser.next();
            Some(make)
        })
    }

    fn power(&mut self) -> Result<Expr> {
        self.chain(
            |parser| parser.unary(true),
            |parser| parser.skip_operator("**").then_some(|a, b| Expr::Binary(Operator::Pow, a, b)),
        )
    }

    fn unary(&mut self, filters: bool) -> Result<Expr> {
        let node = if self.skip_operator("-") {
            Expr::Negative(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else if self.skip_operator("+") {
            Expr::Positive(Box::new(self.deeper(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        let node = self.postfix(node)?;
        if filters { self.filters_and_tests(node) } else { Ok(node) }
    }

    fn primary(&mut self) -> Result<Expr> {
        let line = self.line();
        match self.peek().clone() {
            Token::Name(name) => {
                self.next();
                Ok(Expr::Literal(match &*name {
                    "true" | "True" => Literal::Bool(true),
                    "false" | "False" => Literal::Bool(false),
                    "none" | "None" => Literal::None,
                    _ => return Ok(Expr::Name(name)),
                }))
            }
            Token::Text(mut text) => {
                self.next();
                // Texts side by side are one.
                while let Token::Text(more) = self.peek() {
                    text.push_str(more);
                    self.next();
                }
                Ok(Expr::Literal(Literal::Text(text.into())))
            }
            Token::Int(n) => {
                self.next();
                Ok(Expr::Literal(Literal::Int(n)))
            }
            Token::Float(x) => {
                self.next();
                Ok(Expr::Literal(Literal::Float(x)))
            }
            Token::Operator("(") => {
                self.next();
                let inner = self.tuple(true, &[], true)?;
                self.expect_operator(")")?;
                Ok(inner)
            }
            Token::Operator("[") => {
                self.next();
                let mut items = Vec::new();
                while !self.is_operator("]") {
                    items.push(self.expression(true)?);
                    if !self.is_operator("]") {
                        self.expect_operator(",")?;
                    }
                }
                self.expect_operator("]")?;
                Ok(Expr::List(items))
            }
            Token::Operator("{") => {
                self.next();
                let mut items = Vec::new();
                while !self.is_operator("}") {
                    let key = self.expression(true)?;
                    self.expect_operator(":")?;
                    items.push((key, self.expression(true)?));
                    if !self.is_operator("}") {
                        self.expect_operator(",")?;
                    }
                }
                self.expect_operator("}")?;
                Ok(Expr::Dict(items))
            }
            _ => Err(raised(format!("unexpected {}", self.found())).at(line)),
        }
    }

    fn postfix(&mut self, mut node: Expr) -> Result<Expr> {
        let mut links = 0;
        loop {
            links += 1;
            if links > LONGEST_CHAIN {
                return Err(self.fault("an expression of more than 200 parts in a row"));
            }
            if self.skip_operator(".") {
                node = match self.next() {
                    Token::Name(name) => Expr::Attribute(Box::new(node), name),
                    Token::Int(n) => {
                        Expr::Item(Box::new(node), Box::new(Expr::Literal(Literal::Int(n))))
                    }
                    _ => return Err(self.fault("expected name or number")),
                };
            } else if self.skip_operator("[") {
                node = self.subscript(node)?;
            } else if self.is_operator("(") {
                node = Expr::Call(Box::new(node), Box::new(self.arguments()?));
            } else {
                return Ok(node);
            }
        }
    }

    fn subscript(&mut self, node: Expr) -> Result<Expr> {
        let mut slice = [None, None, None];
        let mut part = 0;
        let mut colons = 0;
        let mut items = Vec::new();
        loop {
            if self.skip_operator("]") {
                break;
            }
            if self.skip_operator(":") {
                colons += 1;
                part += 1;
                if part > 2 {
                    return Err(self.fault("expected `]`, found `:`"));
                }
            } else if self.skip_operator(",") {
                if colons > 0 || items.is_empty() {
                    return Err(
                        super::fault::beyond("slices among several subscripts").at(self.line())
                    );
                }
            } else {
                let inner = self.expression(true)?;
                match colons > 0 || self.is_operator(":") {
                    true if slice[part].is_none() && items.is_empty() => {
                        slice[part] = Some(Box::new(inner));
                    }
                    true => return Err(self.fault("invalid subscript")),
                    false => items.push(inner),
                }
                if !["]", ":", ","].iter().any(|o| self.is_operator(o)) {
                    return Err(self.fault(format!("expected `]`, found {}", self.found())));
                }
            }
        }
        if colons > 0 {
            return Ok(Expr::Slice(Box::new(node), slice));
        }
        let index = match items.len() {
            1 => items.remove(0),
            _ => Expr::Tuple(items),
        };
        Ok(Expr::Item(Box::new(node), Box::new(index)))
    }

    fn filters_and_tests(&mut self, mut node: Expr) -> Result<Expr> {
        let mut links = 0;
        loop {
            links += 1;
            if links > LONGEST_CHAIN {
                return Err(self.fault("an expression of more than 200 parts in a row"));
            }
            if self.skip_operator("|") {
                let (name, arguments) = self.filter_name_and_arguments()?;
                node = Expr::Filter(Box::new(node), name, Box::new(arguments));
            } else if self.skip_name("is") {
                node = self.test(node)?;
            } else if self.is_operator("(") {
                node = Expr::Call(Box::new(node), Box::new(self.arguments()?));
            } else {
                return Ok(node);
            }
        }
    }

    fn dotted_name(&mut self) -> Result<Name> {
        let mut name = self.expect_name()?;
        while self.skip_operator(".") {
            name = format!("{name}.{}", self.expect_name()?).into();
        }
        Ok(name)
    }

    pub(super) fn filter_name_and_arguments(&mut self) -> Result<(Name, Arguments)> {
        let name = self.dotted_name()?;
        if self.branches == 0 && !filter_names::is_known(&name) {
            let fault = filter_names::unknown(&name).at(self.line());
            self.unknown.push(fault);
        }
        let arguments = match self.is_operator("(") {
            true => self.arguments()?,
            false => Arguments::default(),
        };
        Ok((name, arguments))
    }

    fn test(&mut self, node: Expr) -> Result<Expr> {
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        if self.branches == 0 && !tests::NAMES.contains(&&*name) {
            let fault = tests::unknown(&name).at(self.line());
            self.unknown.push(fault);
        }
        let arguments = if self.is_operator("(") {
            self.arguments()?
        } else {
            let takes = match self.peek() {
                Token::Name(name) => !matches!(&**name, "else" | "or" | "and"),
                Token::Text(_) | Token::Int(_) | Token::Float(_) => true,
                Token::Operator(operator) => matches!(*operator, "[" | "{"),
                _ => false,
            };
            if takes && self.is_name("is") {
                return Err(self.fault("You cannot chain multiple tests with is"));
            }
            let mut arguments = Arguments::default();
            if takes {
                let argument = self.primary()?;
                arguments.positional.push(self.postfix(argument)?);
            }
            arguments
        };
        let test = Expr::Test(Box::new(node), name, Box::new(arguments));
        Ok(if negated { Expr::Not(Box::new(test)) } else { test })
    }

    fn arguments(&mut self) -> Result<Arguments> {
        let mut found = Arguments::default();
        self.expect_operator("(")?;
        let invalid = "invalid syntax for function call expression";
        while !self.is_operator(")") {
            if self.skip_operator("*") {
                if found.list.is_some() || found.mapping.is_some() {
                    return Err(self.fault(invalid));
                }
                found.list = Some(self.expression(true)?);
            } else if self.skip_operator("**") {
                if found.mapping.is_some() {
                    return Err(self.fault(invalid));
                }
                found.mapping = Some(self.expression(true)?);
            } else if let (Token::Name(name), Token::Operator("=")) =
                (self.peek().clone(), self.peek_second())
            {
                if found.mapping.is_some() {
                    return Err(self.fault(invalid));
                }
                if found.keyword.iter().any(|(known, _)| *known == name) {
                    return Err(self.fault(format!("keyword argument repeated: {name}")));
                }
                self.next();
                self.next();
                found.keyword.push((name, self.expression(true)?));
            } else {
                let late =
                    !found.keyword.is_empty() || found.list.is_some() || found.mapping.is_some();
                if late {
                    return Err(self.fault(invalid));
                }
                found.positional.push(self.expression(true)?);
            }
            if !self.is_operator(")") {
                self.expect_operator(",")?;
            }
        }
        self.expect_operator(")")?;
        Ok(found)
    }
}
