#!/usr/bin/env python3
"""src/selftest/probe.json: losses and gradient norms of the twenty steps that `wgpu-lora doctor` trains.

    python make_probe.py

Weights, adapter and ids are formulas of their places (src/format/random.rs, src/selftest/training.rs), so that no
file of weights is compiled in; the steps are those of make_golden.py. The numbers are of f64, and f32 must keep to
a tenth of the program's bounds.
"""
import json, pathlib

import numpy as np
import torch
from safetensors.torch import load_file

import make_golden as golden

here = pathlib.Path(__file__).parent
OUT = here.parents[1] / "src/selftest/probe.json"
SHAPE = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=32, intermediate_size=128, vocab_size=256)
HYPER = dict(steps=20, accum=2, lr=5e-3, warmup=2, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01, clip=1.0)
RANK, WINDOWS, ROWS = 8, 4, [(24, 1), (17, 6)]
LOSS, NORM = 2e-5, 1e-5
BOOKS = load_file(here / "nf4/codebooks.safetensors")
MASK = (1 << 64) - 1


def key(name):
    """FNV-1a."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h


def words(name, n, start=0):
    """mix(key + i·φ)."""
    with np.errstate(over="ignore"):
        x = np.uint64(key(name)) + np.arange(start, start + n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def uniform(name, shape):
    u = (words(name, int(np.prod(shape))) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return torch.from_numpy(u.reshape(shape))


def random_bytes(name, n):
    return words(name, -(-n // 8)).view(np.uint8)[:n]


def bf16(name, shape):
    exponent = 127 - -(-(int(shape[1]).bit_length() - 1) // 2)
    bits = random_bytes(name, 2 * int(np.prod(shape))).view(np.uint16) & 0x807F | np.uint16(exponent << 7)
    return torch.from_numpy((bits.astype(np.uint32) << 16).view(np.float32).reshape(shape))


def nf4(name, shape):
    n, root = int(np.prod(shape)), np.sqrt(np.float64(shape[1]))
    packed = random_bytes(name, n // 2)
    codes = np.stack([packed >> 4, packed & 15], 1).reshape(-1)
    book = BOOKS["dynamic8_code"].numpy()
    absmax = book[random_bytes(name + ".absmax", n // 64)] * np.float32(0.5 / root) + np.float32(2.0 / root)
    values = BOOKS["nf4_code"].numpy()[codes].reshape(-1, 64) * absmax[:, None]
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def model():
    # The base is `Linear`, its weights dequantized: what NF4 computes.
    config = golden.LlamaConfig(**SHAPE, rope_parameters=dict(rope_type="default", rope_theta=10_000.0), rms_norm_eps=1e-5,
                                tie_word_embeddings=True, max_position_embeddings=512, attention_bias=False, mlp_bias=False)
    base = golden.LlamaForCausalLM(config).float()
    with torch.no_grad():
        for name, p in base.named_parameters():
            if "norm" in name: p.fill_(1)
            elif "embed" in name: p.copy_(bf16(name, p.shape))
            else: p.copy_(nf4(name, p.shape))
    pm = golden.lora_model(base, "probe", dict(r=RANK, lora_alpha=2 * RANK, target_modules="ALL"), 0)
    with torch.no_grad():
        for name, p in golden.trainable(pm).items():
            p.copy_(uniform(name, p.shape) / np.float32(np.sqrt(np.float32(p.shape[1])) if "lora_A" in name else 20))
    return pm


def micro_batch(number):
    T = ROWS[0][0]
    ids, mask, labels = (torch.full((len(ROWS), T), fill) for fill in (0, 0, -100))
    for row, (length, prompt) in enumerate(ROWS):
        at = (number * len(ROWS) + row) * 64
        ids[row, :length] = torch.from_numpy((words("ids", length, at) >> np.uint64(56)).astype(np.int64))
        mask[row, :length] = 1
        labels[row, prompt:length] = ids[row, prompt:length]
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


batches = [micro_batch(s % WINDOWS * HYPER["accum"] + m) for s in range(HYPER["steps"]) for m in range(HYPER["accum"])]
single = golden.run_train(model(), batches, HYPER, "cosine", "tokens")
with golden.true_f64():
    double = golden.run_train(model().double(), batches, HYPER, "cosine", "tokens")
error = {k: max(abs(a[k] - b[k]) / b[k] for a, b in zip(single, double)) for k in ("loss", "grad_norm")}
print(error, [round(step["loss"], 4) for step in double])
assert error["loss"] <= LOSS / 10 and error["grad_norm"] <= NORM / 10, error
steps = [dict(loss=step["loss"], grad_norm=step["grad_norm"]) for step in double]
OUT.write_text(json.dumps(dict(versions=golden.versions(), f32_error=error, steps=steps), indent=1) + "\n")
