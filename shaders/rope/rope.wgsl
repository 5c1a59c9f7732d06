// rope: turns the pair (a, b) = (x[j], x[j + E/2]) of each head by the angle of its position and of j.
// roles: element
// dispatch: (N·E / 2 / ELEMENTS·WG)   writes: x =   source: Su et al. 2021, eq. 34; halves as in HF Llama

// One j of all heads an invocation: its sine and cosine are loaded once. sign = 1 turns forward;
// sign = -1 turns back, which is the backward pass.
struct Params { n: u32, heads: u32, half: u32, positions: u32, sign: f32 }

@group(0) @binding(0) var<uniform>             p:         Params;
@group(0) @binding(1) var<storage, read_write> x:         array<Element>;  // (N, H·E)
@group(0) @binding(2) var<storage, read>       cos:       array<Element>;  // (P, E/2)
@group(0) @binding(3) var<storage, read>       sin:       array<Element>;  // (P, E/2)
@group(0) @binding(4) var<storage, read>       positions: array<u32>;      // (N), each below P

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn rope(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    let half = p.half / ELEMENTS;
    if i >= p.n * half { return; }
    let row = i / half;
    let j = i - row * half;
    // A position beyond the table would read foreign memory.
    let at = min(positions[row], p.positions - 1u) * half + j;
    let c = cos[at];
    let s = sin[at] * p.sign;
    for (var h = 0u; h < p.heads; h++) {
        let first = (row * p.heads + h) * half * 2u + j;
        let a = x[first];
        let b = x[first + half];
        x[first] = a * c - b * s;
        x[first + half] = b * c + a * s;
    }
}
