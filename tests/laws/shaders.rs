//! Every kernel has its files and headers, every shader has a kernel.

use super::architecture::files;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use wgpu_lora::gpu::{Access, Target, library};
use wgpu_lora::kernels;

fn shaders() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("shaders")
}

fn stem(path: &std::path::Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn no_shader_is_an_orphan() {
    let mut found = Vec::new();
    files(&shaders(), "wgsl", &mut found);
    let on_disk: BTreeSet<String> = found.iter().map(|p| stem(p)).collect();
    let mut known: BTreeSet<String> = library().iter().map(|(name, _)| name.to_string()).collect();
    for kernel in kernels::ALL {
        for body in kernel.bodies {
            known.insert(match body.name {
                "baseline" => kernel.name.to_owned(),
                other => format!("{}_{other}", kernel.name),
            });
        }
    }
    assert_eq!(on_disk, known);
}

#[test]
fn headers_say_what_where_and_from_whom() {
    for kernel in kernels::ALL {
        for body in kernel.bodies {
            let at = format!("{}[{}]", kernel.name, body.name);
            let lines: Vec<&str> = body.source.lines().take(3).collect();
            assert!(lines[0].starts_with(&format!("// {}: ", kernel.name)), "{at}: {}", lines[0]);
            assert!(lines[1].starts_with("// roles: "), "{at}: {}", lines[1]);
            assert!(lines[2].starts_with("// dispatch: "), "{at}: {}", lines[2]);
            for word in ["writes: ", "source: "] {
                assert!(lines[2].contains(word), "{at}: line 3 lacks `{word}`");
            }
            assert!(body.source.contains(&format!("fn {}(", kernel.name)), "{at}: entry point");
        }
    }
}

#[test]
fn bodies_can_be_cut_into_parts_of_their_grid() {
    for body in kernels::ALL.iter().flat_map(|kernel| kernel.bodies) {
        let has = |text: &str| body.source.matches(text).count();
        let (group, groups) = (
            has("    @builtin(workgroup_id) group: vec3u,\n"),
            has("    @builtin(num_workgroups) groups: vec3u,\n"),
        );
        assert_eq!(group, has("workgroup_id"), "{}", body.source);
        assert_eq!(groups, has("num_workgroups"), "{}", body.source);
        assert_eq!(group, has("\n) {\n"), "{}", body.source);
        assert_eq!(has("global_invocation_id"), 0, "{}", body.source);
        assert_eq!(has("struct Params {"), 1, "{}", body.source);
    }
}

#[test]
fn bodies_that_run_together_hide_no_binding() {
    for kernel in kernels::ALL.iter().filter(|kernel| kernels::TOGETHER.contains(&kernel.name)) {
        let texts = kernel.variants().into_iter().map(|selection| selection.text(Target::Native));
        for text in texts {
            for (name, _) in kernel.bindings {
                for declared in
                    [format!("let {name} "), format!("var {name} "), format!("var {name}:")]
                {
                    // The composer puts what is added to an index before every `name[`.
                    assert!(!text.contains(&declared), "{declared}in {text}");
                }
            }
        }
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
