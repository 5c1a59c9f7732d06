#!/usr/bin/env python3
"""Cuts a golden set made by make_golden.py down to what fits into the repository (4 MB), in the same layout.

    python reduce.py SRC DEST        needs numpy

What is cut, so that a reader of the files knows what not to expect:
  nf4/       `dequant` and `dq.dequant` of the large cases, case normal_2d
  model/     tiny_a_bf16_sharded; `nf4dq.logits` (token losses are there); of the batch, row 0 (the rest is cut to its longest text: causal attention and right padding make
             that exact) with losses taken anew from the stored logits or token losses, in f64
  prequant/  the same batch; `dequantized` of two weights, none for f32_single, and no logits for that
  lora/      adapter all_r16; logits; gradients of all_r16_rslora beyond layer 0; merged weights only of layer 0 of the q and v adapters, f32
  train/     the runs of all_r16, and adamw8bit
Each JSON describes what is left. Other tensors are copied byte for byte.
"""
import json, os, shutil, struct, sys
import numpy as np

NP = dict(F32="<f4", F64="<f8", I32="<i4", U8="u1", F16="<f2", BF16="<u2", I64="<i8")
DT = {np.dtype(v): k for k, v in NP.items() if k != "BF16"}
ROWS, T = slice(1, 3), 27                                    # the two shorter texts of the batch
NF4_DROP_CASES = ["normal_2d"]
NF4_BIG = ["many_blocks", "nested_outlier_absmax", "normal_bf16_values"]


def load(path):
    """-> metadata, {name: (dtype, shape, array)}; BF16 as raw u16."""
    b = open(path, "rb").read(); n = struct.unpack("<Q", b[:8])[0]; h = json.loads(b[8:8 + n]); meta = h.pop("__metadata__", None); o = {}
    for k, v in h.items():
        s, e = v["data_offsets"]; o[k] = (v["dtype"], np.frombuffer(b[8 + n + s:8 + n + e], NP[v["dtype"]]).reshape(v["shape"]))
    return meta, o


def save(path, meta, tensors):
    size = lambda d: np.dtype(NP[d]).itemsize
    names = sorted(tensors, key=lambda k: (-size(tensors[k][0]), tensors[k][0], k)); h = {"__metadata__": meta} if meta else {}; at = 0
    for k in names:
        d, a = tensors[k]; h[k] = dict(dtype=d, shape=list(a.shape), data_offsets=[at, at + a.nbytes]); at += a.nbytes
    t = json.dumps(h, separators=(",", ":")).encode(); t += b" " * (-len(t) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(t)) + t)
        for k in names: f.write(np.ascontiguousarray(tensors[k][1]).tobytes())


def dump(path, obj):
    with open(path, "w") as f: json.dump(obj, f, indent=1); f.write("\n")


def keep_tensors(src, dst, keep):
    meta, t = load(src); save(dst, meta, {k: v for k, v in t.items() if keep(k)})


def token_nll(logits, labels):
    """[B, T-1] next-token losses in f64, 0 where there is no target."""
    lg, lb = logits[:, :-1].astype(np.float64), labels[:, 1:]
    m = lg.max(-1, keepdims=True); lse = (m + np.log(np.exp(lg - m).sum(-1, keepdims=True)))[..., 0]
    return np.where(lb == -100, 0, lse - np.take_along_axis(lg, np.maximum(lb, 0)[..., None], -1)[..., 0])


def cut_batch(t):
    """The reduced batch, with every per-token tensor cut alike and every loss recomputed. -> tensors, {variant: (loss, targets)}"""
    o, losses = {}, {}
    for k, (d, a) in t.items():
        if a.ndim > 1: o[k] = (d, a[ROWS, :T - 1 if k.endswith("token_nll") else T])
    labels = o["labels_i32"][1]; n = int((labels[:, 1:] != -100).sum())
    for k in t:
        if not k.split(".")[-1].startswith("loss"): continue
        pre = k[:k.rindex(".") + 1] if "." in k else ""
        base = k.split(".")[-1].replace("_f64", ""); lg = pre + base.replace("loss", "logits", 1)
        nll = token_nll(o[lg][1], labels) if lg in o else o[pre + "token_nll"][1].astype(np.float64)
        loss = nll.sum() / n; losses[pre.rstrip(".") or base] = (float(loss), n)
        o[k] = (t[k][0], np.array([loss], NP[t[k][0]]))
    return o, losses


def main(src, dst):
    p = lambda *a: os.path.join(src, *a)
    def q(*a):
        f = os.path.join(dst, *a); os.makedirs(os.path.dirname(f), exist_ok=True); return f
    def copy(*a): shutil.copyfile(p(*a), q(*a))
    read = lambda *a: json.load(open(p(*a)))

    # nf4: whole cases, the large ones without what follows from the formula
    copy("nf4", "codebooks.safetensors"); copy("nf4", "nf4_half.safetensors")
    def nf4(k):
        case, what = k.split(".", 1)
        return case not in NF4_DROP_CASES and not (case in NF4_BIG and what.endswith("dequant"))
    keep_tensors(p("nf4", "nf4.safetensors"), q("nf4", "nf4.safetensors"), nf4)
    j = read("nf4", "nf4.json"); [j["cases"].pop(c) for c in NF4_DROP_CASES]; dump(q("nf4", "nf4.json"), j)

    j = read("model", "model.json")
    for tag, m in j["models"].items():
        for f in ("config.json", "config_v4.json", "model.safetensors"): copy("model", tag, f)
        meta, t = load(p("model", tag, "forward.safetensors")); t, losses = cut_batch(t); 
        del t["nf4dq.logits"]
        save(q("model", tag, "forward.safetensors"), meta, t)
        m["variants"] = {v: dict(loss=l, loss_f64=l, targets=n) for v, (l, n) in losses.items()}
        m.pop("real_bnb_loss"); m.pop("bf16_whole_model_nf4dq")         # of the whole batch
    dump(q("model", "model.json"), j)

    j = read("prequant", "prequant.json")
    for tag, m in j["checkpoints"].items():
        copy("prequant", tag, "config.json"); copy("prequant", tag, "model.safetensors")
        meta, t = load(p("prequant", tag, "forward_f32.safetensors")); t, losses = cut_batch(t)
        keep = {k: v for k, v in t.items() if not k.endswith("_weights_in_quant_dtype") and (k != "logits" or tag != "f32_single")}
        save(q("prequant", tag, "forward_f32.safetensors"), meta, keep); m["loss_f32"] = losses["loss"][0]
        if tag != "f32_single":
            keep_tensors(p("prequant", tag, "dequantized.safetensors"), q("prequant", tag, "dequantized.safetensors"), lambda k: k.endswith(("0.self_attn.k_proj.weight", "0.mlp.down_proj.weight")))
    dump(q("prequant", "prequant.json"), j)

    j = read("lora", "lora.json"); del j["adapters"]["all_r16"]; copy("lora", "batch.safetensors")
    for tag in j["adapters"]:
        few = tag == "all_r16_rslora"
        for f in ("adapter_config.json", "adapter_model.safetensors"): copy("lora", tag, f)
        for v in ("f32", "nf4dq"):
            keep_tensors(p("lora", tag, f"forward_{v}.safetensors"), q("lora", tag, f"forward_{v}.safetensors"),
                         lambda k: k != "logits" and (not few or not k.startswith("grad.") or (v == "f32" and ".layers.0." in k)))
        if not few: keep_tensors(p("lora", tag, "merged_f32.safetensors"), q("lora", tag, "merged_f32.safetensors"), lambda k: ".layers.0." in k)
    dump(q("lora", "lora.json"), j)

    j = read("train", "train.json"); j.pop("adamw8bit"); copy("train", "batches.safetensors")
    j["runs"] = {k: v for k, v in j["runs"].items() if not k.startswith("all_r16-")}
    for run in j["runs"]: copy("train", f"{run}.safetensors")
    dump(q("train", "train.json"), j)

    for section in ("ce", "rope", "smollm2", "tokenizer"):
        for f in sorted(os.listdir(p(section))):
            copy(section, f)
            if f.endswith(".json"): json.dump(read(section, f), open(q(section, f), "w"), separators=(",", ":"))

    j = read("MANIFEST.json"); files = {}
    for d, _, names in os.walk(dst):
        for f in names:
            f = os.path.relpath(os.path.join(d, f), dst).replace(os.sep, "/")
            if "/" in f: files[f] = os.path.getsize(os.path.join(dst, f))
    dump(q("MANIFEST.json"), dict(about=__doc__.strip().split("\n")[0], seed=j["seed"], preset=j["preset"], versions=j["versions"],
                                  files=dict(sorted(files.items()))))
    print(f"{sum(files.values())} bytes in {len(files)} files")


if __name__ == "__main__":
    if len(sys.argv) != 3: sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
