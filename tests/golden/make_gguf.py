#!/usr/bin/env python3
"""Goldens of GGUF's element types: random blocks and the values that PyPI `gguf` gives them.

    python make_gguf.py OUT.safetensors        needs numpy, gguf, safetensors

Scales and minima are f16 of ordinary size and sign; every other bit of a block is random. `<type>.blocks` holds the
bytes, `<type>.values` the numbers in f32. Four blocks of 256 values, eight of 32, 64 of 1.
"""
import sys
from importlib.metadata import version
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize
from safetensors.numpy import save_file

# Type: bytes of a block, positions of its f16 numbers, blocks.
BLOCKS = {
    T.F16: (2, [0], 64), T.BF16: (2, [], 64), T.Q4_0: (18, [0], 8), T.Q4_1: (20, [0, 2], 8), T.Q5_0: (22, [0], 8), T.Q5_1: (24, [0, 2], 8),
    T.Q8_0: (34, [0], 8), T.Q4_K: (144, [0, 2], 4), T.Q5_K: (176, [0, 2], 4), T.Q6_K: (210, [208], 4),
}


def main(out):
    rng, tensors = np.random.default_rng(20261124), {}
    for kind, (size, halves, count) in BLOCKS.items():
        raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
        if kind == T.BF16:
            raw = (rng.standard_normal(count).astype(np.float32).view(np.uint32) >> 16).astype("<u2").view(np.uint8).reshape(count, 2)
        for at in halves:
            raw[:, at:at + 2] = rng.normal(0, 0.05, count).astype("<f2").view(np.uint8).reshape(count, 2)
        values = dequantize(raw, kind).astype(np.float32).reshape(-1)
        tensors[f"{kind.name}.blocks"], tensors[f"{kind.name}.values"] = raw.reshape(-1).copy(), values
    save_file(tensors, out, metadata={"gguf": version("gguf"), "numpy": np.__version__})


main(*sys.argv[1:])
