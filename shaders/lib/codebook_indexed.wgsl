// codebook_indexed: NF4's sixteen values as an indexed array in an invocation's own memory. On
// SwiftShader three times the speed of a tree of selects, and compiled in half the time; on
// lavapipe the tree is faster.
// uses: values_nf4, scales_nf4

var<private> nf4_indexed: array<f32, 16> = NF4;

fn nf4_values(codes: vec4u) -> vec4f {
    return vec4f(
        nf4_indexed[codes.x], nf4_indexed[codes.y], nf4_indexed[codes.z], nf4_indexed[codes.w],
    );
}

fn nf4_begin(lane: u32) {}
