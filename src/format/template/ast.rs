//! A template as a tree.

use std::sync::Arc;

pub(super) type Name = Arc<str>;

/// A value that is written out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Name),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Literal(Literal),
    Name(Name),
    Attribute(Box<Expr>, Name),
    Item(Box<Expr>, Box<Expr>),
    /// Begin, end and step.
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Box<Arguments>),
    Filter(Box<Expr>, Name, Box<Arguments>),
    Test(Box<Expr>, Name, Box<Arguments>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    /// `a ~ b ~ c`
    Concat(Vec<Expr>),
    /// Condition, value, and the value behind `else`.
    Conditional(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
}

/// What a call is given.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) keyword: Vec<(Name, Expr)>,
    /// `*list`
    pub(super) list: Option<Expr>,
    /// `**mapping`
    pub(super) mapping: Option<Expr>,
}

/// What is assigned to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Name(Name),
    /// A namespace's attribute.
    Member(Name, Name),
    Tuple(Vec<Target>),
}

/// Statements with a scope of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    pub(super) statements: Vec<Statement>,
    /// Names that are assigned here before anything reads them: they hide a variable of the
    /// conversation from the start.
    pub(super) hidden: Vec<Name>,
}

/// A filter without its value, as in `{% filter upper %}`.
#[derive(Clone, Debug)]
pub(super) struct FilterCall {
    pub(super) name: Name,
    pub(super) arguments: Arguments,
}

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Data(String),
    Print(Expr),
    /// Conditions with what follows them; the last is behind `else`.
    If(Vec<(Option<Expr>, Vec<Statement>)>),
    For(Arc<For>),
    Set(Target, Expr),
    SetBlock(Target, Vec<FilterCall>, Body),
    With(Vec<(Target, Expr)>, Body),
    FilterBlock(Vec<FilterCall>, Body),
    Macro(Arc<Macro>),
    /// `{% call(a) f() %}…{% endcall %}`: what is called, its arguments, and the caller.
    Call(Expr, Arguments, Arc<Macro>),
    Generation(Arc<Macro>),
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) over: Expr,
    pub(super) condition: Option<Expr>,
    pub(super) recursive: bool,
    /// Whether the body reads `loop`.
    pub(super) extended: bool,
    pub(super) body: Body,
    pub(super) otherwise: Option<Body>,
}

#[derive(Clone, Debug)]
pub(super) struct Macro {
    /// Empty for what a call block holds.
    pub(super) name: Name,
    pub(super) parameters: Vec<Name>,
    /// Of the last parameters.
    pub(super) defaults: Vec<Expr>,
    pub(super) body: Body,
    /// Which of `caller`, `kwargs` and `varargs` the body reads.
    pub(super) reads_caller: bool,
    pub(super) reads_kwargs: bool,
    pub(super) reads_varargs: bool,
}
