//! What a dispatch covers: the grid of one operation, a part of it, or the grids of several side by
//! side. Bodies are written for the first; for the others their text is changed around their edges,
//! and lines stay where they are.

/// What a dispatch covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The grid of an operation.
    #[default]
    Whole,
    /// A part of it, whose place stands in front of `Params`.
    InPart,
    /// A part of the grids of up to three operations side by side along x.
    Together,
}

/// Operations of one dispatch.
pub(super) const MOST: usize = 3;

/// Bindings whose tensors' places [`Together`](Form::Together) can say.
pub(super) const BINDINGS: usize = 12;

const GROUP: &str = "@builtin(workgroup_id) group: vec3u,";
const GROUPS: &str = "@builtin(num_workgroups) groups: vec3u,";

impl Form {
    /// Its name behind a variant's modules.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Form::Whole => None,
            Form::InPart => Some("in_parts"),
            Form::Together => Some("together"),
        }
    }

    /// The text of a body in this form.
    pub(super) fn body(self, body: &str) -> String {
        match self {
            Form::Whole => body.to_owned(),
            Form::InPart => in_part(body),
            Form::Together => together(body),
        }
    }

    /// The text of a module that goes with such a body.
    pub(super) fn module(self, module: &str, body: &str) -> String {
        match self {
            Form::Together => rebased(module, &storage(body)),
            _ => module.to_owned(),
        }
    }
}

/// What the uniform begins with unless a dispatch is whole: the part's first workgroup, and the
/// whole grid.
pub(super) fn part_bytes(first: [u32; 3], grid: [u32; 3]) -> [u8; 32] {
    let ([x, y, z], [nx, ny, nz]) = (first, grid);
    bytemuck::cast([x, y, z, 0, nx, ny, nz, 0])
}

/// The body for parts of its grid: `group` and `groups` are those of the whole.
fn in_part(body: &str) -> String {
    let body = body.replace("struct Params {", "struct Params { part: vec4u, grid: vec4u,");
    if !body.contains(GROUP) {
        return body;
    }
    let opened = ") { let group = at_part + p.part.xyz; let groups = p.grid.xyz;";
    entered(&body, opened)
}

/// The body with other edges: `at_part` for the dispatch's own workgroup, and `opened` in place of
/// `) {`.
fn entered(body: &str, opened: &str) -> String {
    body.replace(GROUP, "@builtin(workgroup_id) at_part: vec3u,")
        .replace(GROUPS, "")
        .replace("\n) {\n", &format!("\n{opened}\n"))
}

/// A body's storage bindings: number from 0, name, and words of an element.
pub(super) fn storage(body: &str) -> Vec<(usize, &str, usize)> {
    body.lines().filter_map(binding).collect()
}

/// The storage binding that a line declares, if it does.
pub(super) fn binding(line: &str) -> Option<(usize, &str, usize)> {
    let (number, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(')')?;
    let declared = rest.split_once("var<storage")?.1.split(';').next()?;
    let (name, kind) = declared.split_once('>')?.1.split_once(':')?;
    let words = if kind.contains("vec4") { 4 } else { 1 + usize::from(kind.contains("vec2")) };
    Some((number.parse::<usize>().ok()?.checked_sub(1)?, name.trim(), words))
}

/// The text with every index into a storage binding `x[` behind where the operation's tensor
/// begins, `x_base`.
fn rebased(text: &str, bindings: &[(usize, &str, usize)]) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut out = text.to_owned();
    for (_, name, _) in bindings {
        let index = format!("{name}[");
        let mut pieces = out.split(&index).collect::<Vec<_>>().into_iter();
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let own = !text.ends_with(is_word);
            text.push_str(&index);
            if own {
                text.push_str(&format!("{name}_base + "));
            }
            text.push_str(piece);
        }
        out = text;
    }
    out
}

/// The body for the grids of several operations side by side: it has the `Params` of the one whose
/// grid its workgroup is in, `group` and `groups` as in that grid, and its tensors begin where that
/// one's do.
fn together(body: &str) -> String {
    let bindings = storage(body);
    let uniform = body.lines().find(|line| line.starts_with("@group(0) @binding(0) var<uniform>"));
    let places: String =
        bindings.iter().map(|(_, name, _)| format!(" var<private> {name}_base: u32;")).collect();
    let declared = format!(
        "@group(0) @binding(0) var<uniform> together: Together; struct Together {{ part: vec4u, grid: vec4u, \
         first: vec4u, base: array<vec4u, {}>, @align(16) a: Params, @align(16) b: Params, @align(16) c: Params }} \
         var<private> p: Params;{places}",
        MOST * BINDINGS / 4
    );
    let place = |op: usize| -> String {
        let at = |&(number, name, _): &(usize, &str, usize)| {
            let i = op * BINDINGS + number;
            format!(" {name}_base = together.base[{}].{};", i / 4, ["x", "y", "z", "w"][i % 4])
        };
        bindings.iter().map(at).collect()
    };
    // Modules see a variable of the module; the body a value of its own, which is the same for a
    // whole workgroup as WGSL understands it, so that it may decide on barriers.
    let opened = format!(
        ") {{ let together_x = at_part.x + together.part.x; var together_p = together.a; \
         var together_first = 0u; var together_next = together.first.y;{} \
         if together_x >= together.first.y {{ together_p = together.b; together_first = together.first.y; \
         together_next = together.first.z;{} }} \
         if together_x >= together.first.z {{ together_p = together.c; together_first = together.first.z; \
         together_next = together.first.w;{} }} \
         p = together_p; let p = together_p; \
         let group = vec3u(together_x - together_first, at_part.yz + together.part.yz); \
         let groups = vec3u(together_next - together_first, together.grid.yz);",
        place(0),
        place(1),
        place(2)
    );
    let text = rebased(body, &bindings).replace(uniform.unwrap_or_default(), &declared);
    entered(&text, &opened)
}
