// lora_up_bwd: dlow = scale · dy·B. One output an invocation.
// roles: none
// dispatch: (M · R / 64)   writes: dlow =   source: derivative of LoRA's branch by x·Aᵀ

struct Params { m: u32, n: u32, rank: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       dy:   array<f32>;  // (M, N)
@group(0) @binding(2) var<storage, read>       b:    array<f32>;  // (N, R)
@group(0) @binding(3) var<storage, read_write> dlow: array<f32>;  // (M, R)

@compute @workgroup_size(64)
fn lora_up_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i >= p.m * p.rank { return; }
    let dy_at = i / p.rank * p.n;
    let r = i % p.rank;
    var sum = 0.0;
    for (var n = 0u; n < p.n; n++) { sum += dy[dy_at + n] * b[n * p.rank + r]; }
    dlow[i] = p.scale * sum;
}
