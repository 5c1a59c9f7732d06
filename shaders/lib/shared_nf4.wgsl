// shared_nf4: NF4's sixteen values and the 256 of scale codes in shared memory. For GPUs: a look-up
// is one load, of words in different banks where lanes differ; a tree of selects takes twenty
// instructions, and a uniform buffer serves different addresses one after the other or from a cache
// far away.
// uses: values_nf4

var<workgroup> nf4_shared: array<f32, 16>;
var<workgroup> nf4_table: array<vec4f, 64>;

// A barrier between this and the look-ups is the body's.
fn nf4_begin(lane: u32) {
    var values = NF4;
    if lane < 16u { nf4_shared[lane] = values[lane]; }
    if lane < 64u { nf4_table[lane] = table[lane]; }
}

fn nf4_values(codes: vec4u) -> vec4f {
    return vec4f(nf4_shared[codes.x], nf4_shared[codes.y], nf4_shared[codes.z], nf4_shared[codes.w]);
}

fn nf4_scale(code: u32) -> f32 {
    return nf4_table[code / 4u][code % 4u];
}
