//! Every kernel has its files and headers, every shader has a kernel.

use super::architecture::files;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use wgpu_lora::gpu::{Access, Target, library, uses};
use wgpu_lora::kernels;

fn shaders() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("shaders")
}

#[test]
fn no_shader_is_an_orphan() {
    let mut found = Vec::new();
    files(&shaders(), "wgsl", &mut found);
    let root = shaders();
    let place = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    let on_disk: BTreeSet<String> = found.iter().map(place).collect();
    let modules = library().iter().map(|(_, source)| source.file);
    let bodies = kernels::ALL.iter().flat_map(|kernel| kernel.bodies).map(|body| body.source.file);
    assert_eq!(on_disk, modules.chain(bodies).map(str::to_owned).collect());
}

#[test]
fn headers_say_what_where_and_from_whom() {
    for kernel in kernels::ALL {
        for body in kernel.bodies {
            let at = format!("{}[{}]", kernel.name, body.name);
            let lines: Vec<&str> = body.source.text().lines().take(3).collect();
            assert!(lines[0].starts_with(&format!("// {}: ", kernel.name)), "{at}: {}", lines[0]);
            assert!(lines[1].starts_with("// roles: "), "{at}: {}", lines[1]);
            assert!(lines[2].starts_with("// dispatch: "), "{at}: {}", lines[2]);
            for word in ["writes: ", "source: "] {
                assert!(lines[2].contains(word), "{at}: line 3 lacks `{word}`");
            }
            assert!(
                body.source.text().contains(&format!("fn {}(", kernel.name)),
                "{at}: entry point"
            );
        }
    }
}

#[test]
fn bodies_can_be_cut_into_parts_of_their_grid() {
    for body in kernels::ALL.iter().flat_map(|kernel| kernel.bodies) {
        let has = |text: &str| body.source.text().matches(text).count();
        let (group, groups) = (
            has("    @builtin(workgroup_id) group: vec3u,\n"),
            has("    @builtin(num_workgroups) groups: vec3u,\n"),
        );
        assert_eq!(group, has("workgroup_id"), "{}", body.source.file);
        assert_eq!(groups, has("num_workgroups"), "{}", body.source.file);
        assert_eq!(group, has("\n) {\n"), "{}", body.source.file);
        assert_eq!(has("global_invocation_id"), 0, "{}", body.source.file);
        assert_eq!(has("struct Params {"), 1, "{}", body.source.file);
    }
}

#[test]
fn what_is_used_is_there_and_what_is_there_is_used() {
    let names: BTreeSet<&str> = library().iter().map(|(name, _)| *name).collect();
    let bodies =
        kernels::ALL.iter().flat_map(|kernel| kernel.bodies).map(|body| body.source.text());
    let texts = bodies.chain(library().iter().map(|(_, source)| source.text()));
    let used: BTreeSet<&str> = texts.flat_map(uses).collect();
    assert_eq!(used.difference(&names).collect::<Vec<_>>(), Vec::<&&str>::new(), "no such module");
    let selections = kernels::ALL.iter().flat_map(|kernel| kernel.variants());
    let chosen: BTreeSet<&str> = selections.flat_map(|selection| selection.modules).collect();
    let idle = names.iter().find(|name| !used.contains(*name) && !chosen.contains(*name));
    assert_eq!(idle, None, "no body uses it");
}

/// Lines that name a storage binding without indexing it. The composer puts what is added to an
/// index before every `name[`: a local, a parameter or a pointer of that name would take it or
/// escape it.
fn strays<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let is_stray = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        code.match_indices(name).any(|(at, _)| {
            let (before, after) = (&code[..at], &code[at + name.len()..]);
            let whole = !before.ends_with(is_word) && !after.starts_with(is_word);
            whole && !before.ends_with('.') && !after.starts_with('[')
        })
    };
    let declared = |line: &str| line.starts_with("@group(0)") || line.starts_with("struct ");
    text.lines().filter(|line| !declared(line) && is_stray(line)).collect()
}

#[test]
fn bodies_that_run_together_only_index_bindings() {
    let kernels: Vec<_> = kernels::ALL.iter().filter(|kernel| kernel.joins).collect();
    assert!(!kernels.is_empty());
    // Where an operation's tensors begin is reckoned in elements, whose size the text has to say.
    let bodies = kernels.iter().flat_map(|kernel| kernel.bodies);
    let unsure = bodies.filter(|body| body.roles().contains(&"element"));
    assert_eq!(unsure.map(|body| body.source.file).next(), None);
    for selection in kernels.iter().flat_map(|kernel| kernel.variants()) {
        let storage = |(_, access): &&(&str, Access)| *access != Access::Table;
        for (name, _) in selection.kernel.bindings.iter().filter(storage) {
            let text = selection.text(Target::Native);
            let strays = strays(&text, name);
            assert!(strays.is_empty(), "{}: `{name}` in {strays:#?}", selection.name());
        }
    }
}

#[test]
fn images_take_the_place_of_loads_from_bindings_that_are_only_indexed() {
    for kernel in kernels::ALL {
        for body in kernel.bodies {
            assert!(body.images.len() <= 4, "{}: more than WebGPU promises", body.source.file);
            for name in body.images {
                let at = format!("{}: `{name}`", body.source.file);
                let access = kernel.bindings.iter().find(|(of, _)| of == name).map(|(_, of)| *of);
                assert!(matches!(access, Some(Access::Read | Access::Update)), "{at}");
                let declared = body.source.text().lines().find(|line| {
                    let words: Vec<_> = line.split_whitespace().collect();
                    words.contains(&format!("{name}:").as_str()) && line.contains("var<storage, ")
                });
                let wide = if body.fours { "array<Element>" } else { "array<vec4" };
                assert!(declared.is_some_and(|line| line.contains(wide)), "{at}");
                if access == Some(Access::Update) {
                    assert!(!kernel.joins, "{at} is written, and several operations are joined");
                    for stored in ["] +=", "] -=", "] *="] {
                        let mut lines = body.source.text().lines();
                        assert!(
                            !lines.any(|l| l.contains(&format!("{name}[")) && l.contains(stored)),
                            "{at}: {stored}"
                        );
                    }
                }
            }
        }
        for selection in kernel.variants().into_iter().filter(|variant| variant.images) {
            let text = selection.text(Target::Native);
            for name in selection.body.images {
                let loads =
                    [format!("textureLoad({name}, "), format!("textureLoad(before_{name}, ")];
                let count: usize =
                    loads.iter().map(|load| text.matches(load.as_str()).count()).sum();
                assert_eq!(count, 1, "{}: `{name}`", selection.name());
                let text = text.replace(&loads[0], "");
                assert!(strays(&text, name).is_empty(), "{}: `{name}`", selection.name());
            }
        }
    }
}

#[test]
fn what_hides_a_binding_is_found() {
    for line in [
        "    let w = 1u;",
        "    let w: u32 = 1u;",
        "    var w: array<u32, 4>;",
        "    for (var w = 0u; i < 4u; i++) {",
        "fn value(i: u32, w: vec4u) -> f32 {",
        "    let all = &w;",
        "    let n = arrayLength(&w);",
        "    let a = w [0];",
    ] {
        assert_eq!(strays(line, "w"), [line]);
    }
    let declared = "@group(0) @binding(2) var<storage, read> w: array<u32>;";
    let member = "struct Row { w: u32 }";
    for line in [declared, member, "    let a = w[0] + v.w + row.w; // w", "    let new_w = w4;"] {
        assert!(strays(line, "w").is_empty(), "{line}");
    }
}

#[test]
fn bindings_equal_rusts_in_name_order_and_access() {
    for kernel in kernels::ALL {
        for body in kernel.bodies {
            let at = format!("{}[{}]", kernel.name, body.name);
            let storage = kernel.bindings.iter().filter(|(_, a)| *a != Access::Table).count();
            assert!(storage <= 8, "{at}: more storage buffers than WebGPU promises");
            let declared: Vec<(String, bool)> = body
                .source
                .text()
                .lines()
                .filter(|l| l.starts_with("@group(0)") && !l.contains("@binding(0)"))
                .map(|l| {
                    let after = l.split('>').nth(1).unwrap_or_default();
                    let name = after.split(':').next().unwrap_or_default().trim();
                    (name.to_owned(), l.contains("read_write"))
                })
                .collect();
            let expected: Vec<(String, bool)> = kernel
                .bindings
                .iter()
                .map(|(name, access)| (name.to_string(), access.writes()))
                .collect();
            assert_eq!(declared, expected, "{at}");
        }
    }
}

#[test]
fn lines_are_short_and_indented_with_spaces() {
    let mut found = Vec::new();
    files(&shaders(), "wgsl", &mut found);
    for path in found {
        for (i, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let at = format!("{}:{}", path.display(), i + 1);
            assert!(line.chars().count() <= 110, "{at}: {} columns", line.chars().count());
            assert!(!line.contains('\t') && line.trim_end() == line, "{at}: white space");
        }
    }
}
