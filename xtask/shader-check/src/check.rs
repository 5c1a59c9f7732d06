//! One shader through naga: parse and validate with the claimed capabilities only, resolve
//! overrides with their defaults, hold the baseline to WebGPU's default limits, emit SPIR-V, MSL
//! and HLSL.

use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::Layouter;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};

/// WebGPU's default limits, which every kernel without capabilities must keep (guide, law 7).
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_DEPTH: u32 = 64;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;

/// What a manifest's capability means to naga. `None`: no such name.
fn capability(name: &str) -> Option<Capabilities> {
    Some(match name {
        "subgroups" | "subgroup" => Capabilities::SUBGROUP,
        "subgroup-barrier" => Capabilities::SUBGROUP_BARRIER,
        "f16" | "shader-f16" => Capabilities::SHADER_FLOAT16,
        "int64" => Capabilities::SHADER_INT64,
        "cooperative-matrix" => Capabilities::COOPERATIVE_MATRIX,
        // More memory or invocations than WebGPU's default limits; nothing that naga knows about.
        "large-workgroup" => Capabilities::empty(),
        _ => return None,
    })
}

/// What other compilers may judge: the texts that drivers get from wgpu.
#[derive(Debug)]
pub struct Emitted {
    pub spirv: Vec<u32>,
    /// With the name of its entry point; none with matrix units, which HLSL does not have.
    pub hlsl: Option<(String, String)>,
}

/// Judges one shader; the error is a text for people.
pub fn check(source: &str, claimed: &[String]) -> Result<Emitted, String> {
    // Packing halves into words needs no feature on any backend that this crate uses.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    for name in claimed {
        capabilities |= capability(name).ok_or_else(|| format!("unknown capability `{name}`"))?;
    }
    let mut options = naga::front::wgsl::Options::new();
    options.capabilities = capabilities;
    let module = naga::front::wgsl::Frontend::new_with_options(options)
        .parse(source)
        .map_err(|error| error.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(source))?;

    let [entry] = module.entry_points.as_slice() else {
        return Err(format!("{} entry points, expected one", module.entry_points.len()));
    };
    if entry.stage != ShaderStage::Compute {
        return Err(format!("`{}` is not a compute shader", entry.name));
    }
    let entry = (ShaderStage::Compute, entry.name.as_str());
    let constants = naga::back::PipelineConstants::default();
    let (module, info) = process_overrides(&module, &info, Some(entry), &constants)
        .map_err(|error| format!("overrides: {}", chain(&error)))?;
    if claimed.is_empty() {
        within_default_limits(&module, &info)?;
    }
    let spirv = emit_spirv(&module, &info, entry.1)?;
    emit_msl(&module, &info, entry.1)?;
    let has_hlsl = !capabilities.contains(Capabilities::COOPERATIVE_MATRIX);
    let hlsl = has_hlsl.then(|| emit_hlsl(&module, &info, entry.1)).transpose()?;
    Ok(Emitted { spirv, hlsl })
}

fn within_default_limits(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    let entry = &module.entry_points[0];
    let size = entry.workgroup_size;
    let invocations = size.iter().product::<u32>();
    if invocations > MAX_INVOCATIONS || size[2] > MAX_WORKGROUP_DEPTH {
        return Err(format!(
            "workgroup {size:?}: more than {MAX_INVOCATIONS} invocations, or deeper than {MAX_WORKGROUP_DEPTH}"
        ));
    }
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| chain(&error))?;
    let (mut bytes, mut buffers) = (0, 0);
    for (handle, variable) in module.global_variables.iter() {
        if info.get_entry_point(0)[handle].is_empty() {
            continue;
        }
        match variable.space {
            // The specification rounds every variable up to 16 bytes.
            AddressSpace::WorkGroup => bytes += layouter[variable.ty].size.next_multiple_of(16),
            AddressSpace::Storage { .. } => buffers += 1,
            _ => {}
        }
    }
    if bytes > MAX_WORKGROUP_BYTES {
        return Err(format!(
            "{bytes} bytes of workgroup memory, the default limit is {MAX_WORKGROUP_BYTES}"
        ));
    }
    if buffers > MAX_STORAGE_BUFFERS {
        return Err(format!(
            "{buffers} storage buffers, the default limit is {MAX_STORAGE_BUFFERS}"
        ));
    }
    Ok(())
}

/// As wgpu does for a trusted module on Vulkan 1.3.
fn emit_spirv(module: &Module, info: &ModuleInfo, entry: &str) -> Result<Vec<u32>, String> {
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..spv::Options::default()
    };
    let pipeline =
        spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: entry.to_string() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline))
        .map_err(|error| format!("SPIR-V: {}", chain(&error)))?;
    not_empty("SPIR-V", words.len())?;
    Ok(words)
}

fn emit_msl(module: &Module, info: &ModuleInfo, entry: &str) -> Result<(), String> {
    let options = msl::Options { lang_version: (2, 4), ..msl::Options::default() };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, entry.to_string())),
        ..msl::PipelineOptions::default()
    };
    let (text, reflection) = msl::write_string(module, info, &options, &pipeline)
        .map_err(|error| format!("MSL: {}", chain(&error)))?;
    for name in reflection.entry_point_names {
        name.map_err(|error| format!("MSL: {}", chain(&error)))?;
    }
    not_empty("MSL", text.len())
}

/// As wgpu does for a trusted module; returns the text and its entry point's name.
fn emit_hlsl(module: &Module, info: &ModuleInfo, entry: &str) -> Result<(String, String), String> {
    // 6.2 is the first with 16-bit types; wave operations came with 6.0. 6.5 is what drivers have.
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_5,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let pipeline =
        hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, entry.to_string())) };
    let mut text = String::new();
    let reflection = hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .map_err(|error| format!("HLSL: {}", chain(&error)))?;
    not_empty("HLSL", text.len())?;
    let name = reflection.entry_point_names.into_iter().next();
    let name = name.ok_or("HLSL: no entry point")?;
    Ok((text, name.map_err(|error| format!("HLSL: {}", chain(&error)))?))
}

fn not_empty(language: &str, length: usize) -> Result<(), String> {
    if length == 0 { Err(format!("{language}: nothing came out")) } else { Ok(()) }
}

/// The error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::check;

    fn judge(source: &str, claimed: &[&str]) -> Result<(), String> {
        let claimed: Vec<_> = claimed.iter().map(|name| name.to_string()).collect();
        check(source, &claimed).map(drop)
    }

    /// A row sum whose body and globals can be swapped.
    fn kernel(globals: &str, body: &str) -> String {
        format!(
            "struct Params {{ d: u32, eps: f32 }}
            @group(0) @binding(0) var<uniform>             p: Params;
            @group(0) @binding(1) var<storage, read>       x: array<vec4f>;
            @group(0) @binding(2) var<storage, read_write> y: array<f32>;
            override WG: u32 = 256u;
            var<workgroup> part: array<f32, WG>;
            {globals}
            @compute @workgroup_size(WG)
            fn row_sum(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {{
                var sum = 0.0;
                for (var i = lane; i < p.d; i += WG) {{ let v = x[group.x * p.d + i]; sum += dot(v, v); }}
                {body}
                part[lane] = sum;
                workgroupBarrier();
                if lane == 0u {{ y[group.x] = part[0] + p.eps; }}
            }}"
        )
    }

    #[test]
    fn a_good_kernel_passes_with_its_overrides_resolved() {
        assert_eq!(judge(&kernel("", ""), &[]), Ok(()));
    }

    #[test]
    fn other_compilers_get_texts_with_their_entry_point() {
        let emitted = check(&kernel("", ""), &[]).unwrap();
        assert_eq!(emitted.spirv[0], 0x0723_0203);
        let (text, entry) = emitted.hlsl.unwrap();
        assert!(text.contains(&format!("void {entry}(")), "{entry}: {text}");
    }

    #[test]
    fn packed_halves_need_no_capability() {
        assert_eq!(judge(&kernel("", "sum += unpack2x16float(p.d).x;"), &[]), Ok(()));
    }

    #[test]
    fn subgroup_operations_need_the_claim() {
        let source = kernel("", "sum = subgroupAdd(sum);");
        assert_eq!(judge(&source, &["subgroups"]), Ok(()));
        assert!(judge(&source, &[]).is_err());
        assert!(judge(&source, &["f16"]).is_err());
    }

    #[test]
    fn halves_need_the_claim() {
        let source = format!("enable f16;\n{}", kernel("", "sum += f32(f16(sum));"));
        assert_eq!(judge(&source, &["f16"]), Ok(()));
        assert!(judge(&source, &["subgroups"]).is_err());
    }

    #[test]
    fn an_unknown_capability_is_a_failure() {
        let why = judge(&kernel("", ""), &["subgruops"]).unwrap_err();
        assert!(why.contains("subgruops"), "{why}");
    }

    #[test]
    fn type_errors_show_the_line() {
        let why = judge(&kernel("", "sum += 1u;"), &[]).unwrap_err();
        assert!(why.contains("sum += 1u"), "{why}");
    }

    #[test]
    fn an_override_without_a_default_is_a_failure() {
        let why = judge(&kernel("override TILE: u32;", "sum += f32(TILE);"), &[]).unwrap_err();
        assert!(why.contains("overrides"), "{why}");
    }

    #[test]
    fn the_baseline_keeps_the_default_limits() {
        let memory = kernel("var<workgroup> tile: array<vec4f, 1024>;", "tile[lane] = x[lane];");
        assert!(judge(&memory, &[]).unwrap_err().contains("17408 bytes of workgroup memory"));
        assert_eq!(judge(&memory, &["large-workgroup"]), Ok(()));
        let wide = kernel("", "").replace("256u", "512u");
        assert!(judge(&wide, &[]).unwrap_err().contains("invocations"));
        let mut globals = String::new();
        let mut body = String::new();
        for i in 3..10 {
            globals += &format!("@group(0) @binding({i}) var<storage, read> b{i}: array<f32>;\n");
            body += &format!("sum += b{i}[lane];\n");
        }
        assert!(judge(&kernel(&globals, &body), &[]).unwrap_err().contains("9 storage buffers"));
    }

    #[test]
    fn one_compute_entry_point_and_no_other() {
        assert!(judge("fn helper() {}", &[]).unwrap_err().contains("0 entry points"));
        let two = kernel("@compute @workgroup_size(1) fn other() {}", "");
        assert!(judge(&two, &[]).unwrap_err().contains("2 entry points"));
    }
}
