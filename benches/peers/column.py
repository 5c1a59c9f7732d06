#!/usr/bin/env python3
"""A column of README's table: this machine's figures beside the peers', all in one run of about ten minutes.

    python benches/peers/column.py PROGRAM MODEL [--llama DIR MODEL.gguf] [--torch]

PROGRAM is `target/release/wgpu-lora`, MODEL a folder with SmolLM2-135M (`cargo xtask models`). `--llama` and `--torch` run the peers, which need
what `llama.mjs` and `torch_step.py` say. Every line that a program prints goes to stdout as it is, JSON; the column follows on stderr.
Run it on an idle machine. `--isa avx2` keeps PyTorch to a processor's AVX2, where lavapipe is kept to it too.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("model")
parser.add_argument("--llama", nargs=2, metavar=("DIR", "GGUF"))
parser.add_argument("--torch", action="store_true")
parser.add_argument("--isa", choices=["avx2"])
parser.add_argument("--turns", type=int, default=2)
args = parser.parse_args()
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def lines(command, **env):
    out = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}).stdout
    print(out, end="", flush=True)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def bench(*words):
    return lines([args.program, "bench", *words, "--json"])


def product(kernel):
    """That of weights in NF4 with double quantization, which has the fewest bytes."""
    return min(bench(kernel, "--shape", "512x2048x2048"), key=lambda line: line["bytes"])


def median(values):
    return sorted(values)[len(values) // 2] if values else float("nan")


step, peer_step, prompt, token, peer_prompt, peer_token, forward, backward = ([] for _ in range(8))
model = ["--model", args.model]
for _ in range(args.turns):
    forward.append(product("linear_fwd"))
    backward.append(product("linear_bwd"))
    step += bench("step", *model, "--batch", "4", "--seq", "128", "--rank", "16", "--target-modules", "all-linear", "--steps", "2")
    if args.torch:
        peer_step += lines([sys.executable, HERE / "torch_step.py", args.model, "4", "128", "3", "2"], **(AVX2 if args.isa else {}))
    prompt += bench("prefill", *model, "--tokens", "128")
    token += bench("decode", *model, "--tokens", "32")
    if args.llama:
        found = lines(["node", HERE / "llama.mjs", *args.llama], GGML_VK_VISIBLE_DEVICES="0")
        peer_prompt += found
        peer_token += found


def of(found, key):
    return median([line[key] for line in found])


def row(work, ours, peer, ratio, unit):
    print(f"| {work} | {ours:.3g} {unit} | {peer:.3g} {unit} | {ratio:.2f} |", file=sys.stderr)


seconds, peer_seconds = of(step, "ms") / 1e3, of(peer_step, "ms") / 1e3
row("training step 4 x 128, r = 16 on all; PyTorch f32", seconds, peer_seconds, peer_seconds / seconds, "s")
for work, ours, key in [("prompt of 128", prompt, "prefill"), ("generation", token, "decode")]:
    ours, peer = of(ours, "tokens_per_second"), of(peer_prompt, f"{key}_tokens_per_second")
    row(f"{work}; llama.cpp's Vulkan backend", ours, peer, ours / peer, "tokens/s")
for work, found in [("forward", forward), ("gradient of the input", backward)]:
    share, speed = of(found, "percent_of_ceiling"), of(found, "gflops")
    row(f"NF4 product 512 x 2048 x 2048, {work}; ceiling_fma", speed, 100 * speed / share, share / 100, "GFLOP/s")
