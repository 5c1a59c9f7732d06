// rope: turns the pair (a, b) = (x[j], x[j + E/2]) of each head by the angle of its position and of j.
// roles: none
// dispatch: (N·E / 8·WG)   writes: x = in place   source: Su et al. 2021, eq. 34; halves as in HF Llama
// Against the baseline an invocation takes four elements at a time, so that an image gives it all
// four at once: llvmpipe without AVX-512.

struct Params { n: u32, heads: u32, half: u32, positions: u32, sign: f32 }

@group(0) @binding(0) var<uniform>             p:         Params;
@group(0) @binding(1) var<storage, read_write> x:         array<vec4f>;  // (N, H·E)
@group(0) @binding(2) var<storage, read>       cos:       array<vec4f>;  // (P, E/2)
@group(0) @binding(3) var<storage, read>       sin:       array<vec4f>;  // (P, E/2)
@group(0) @binding(4) var<storage, read>       positions: array<u32>;    // (N), each below P

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn rope(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    let half4 = p.half / 4u;
    if i >= p.n * half4 { return; }
    let row = i / half4;
    let j = i - row * half4;
    // A position beyond the table would read foreign memory.
    let at = min(positions[row], p.positions - 1u) * half4 + j;
    let c = cos[at];
    let s = sin[at] * p.sign;
    for (var h = 0u; h < p.heads; h++) {
        let first = (row * p.heads + h) * half4 * 2u + j;
        let a = x[first];
        let b = x[first + half4];
        x[first] = a * c - b * s;
        x[first + half4] = b * c + a * s;
    }
}
