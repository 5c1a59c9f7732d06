#!/usr/bin/env python3
"""number/: losses that know that 499 is near 500, against PyTorch: values and gradients through a head, and runs of 20 steps.

    python make_number.py            needs what make_golden.py needs; reads train/, lora/ and model/ beside it

Targets of number k of a batch (ascending rows), for every third k: tokens label - 35, label - 28, ... label + 35 inside
the vocabulary, q ~ exp(-j^2/8) for the j-th from the label, in f32; weight 1/2 for even k, else 1/4.
  soft: cross-entropy against (1 - w)·onehot + w·q
  crps: cross-entropy + w/4 · sum of (F - H)^2 over the tokens, F of softmax over them, H the step at the label
Values are of f64; hidden states and weights are make_golden.py's hash_uniform.
"""
import json, pathlib

import numpy as np
import torch
import torch.nn.functional as tF
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, get_scheduler
from peft import PeftModel

import make_golden as golden

here = pathlib.Path(__file__).parent
HEAD = dict(rows=9, hidden=48, vocab=2048, weight_stream=31001, hidden_stream=31002, weight_scale=0.5)
HYPER = dict(lr=2e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01, warmup=3, steps=20, clip=1.0, accum=2)
ADAPTER = "qv_r8"


def soft_row(label, vocab):
    j = torch.arange(-5, 6); tokens = label + 7 * j; inside = (tokens >= 0) & (tokens < vocab)
    q = torch.exp(-(j[inside].double() ** 2) / 8); return tokens[inside], (q / q.sum()).float()


def number_loss(kind, logits, labels):
    """Sum over targets, `logits` (L, V) of them in order."""
    total = tF.cross_entropy(logits, labels, reduction="sum")
    for k in range(0, len(labels), 3):
        label = int(labels[k]); tokens, q = soft_row(label, logits.shape[1]); w = 0.5 if k % 2 == 0 else 0.25; z = logits[k]
        if kind == "soft":
            target = torch.zeros_like(z); target[label] = 1 - w; target[tokens] += w * q.to(z.dtype)
            total = total - tF.cross_entropy(z, torch.tensor(label)) + tF.cross_entropy(z[None], target[None], reduction="sum")
        else:
            gap = torch.cumsum(torch.softmax(z[tokens], 0) - (tokens == label).to(z.dtype), 0); total = total + w / 4 * (gap ** 2).sum()
    return total


def values(kind):
    l, d, v = HEAD["rows"], HEAD["hidden"], HEAD["vocab"]
    h = torch.from_numpy(golden.hash_uniform(l * d, HEAD["hidden_stream"]).reshape(l, d)).double().requires_grad_()
    w = torch.from_numpy(golden.hash_uniform(v * d, HEAD["weight_stream"]).reshape(v, d)).double() * HEAD["weight_scale"]
    labels = torch.tensor([(i * 977 + 5) % v for i in range(l)])
    loss = number_loss(kind, h @ w.T, labels); (loss / l).backward()
    return dict(labels=labels.tolist(), loss=float(loss.detach()) / l, grad_hidden=h.grad.flatten().tolist())


def run(kind, dtype):
    base = AutoModelForCausalLM.from_pretrained(here / "model/tiny_a", torch_dtype=torch.float32, attn_implementation="eager")
    pm = PeftModel.from_pretrained(base, here / "lora" / ADAPTER, is_trainable=True).to(dtype); pm.train()
    params = [p for p in pm.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=HYPER["lr"], betas=tuple(HYPER["betas"]), eps=HYPER["eps"], weight_decay=HYPER["weight_decay"])
    sch = get_scheduler("linear", opt, num_warmup_steps=HYPER["warmup"], num_training_steps=HYPER["steps"])
    b = {k[:-4]: t.long() for k, t in load_file(here / "train/batches.safetensors").items()}; log = []
    for s in range(HYPER["steps"]):
        at = range(s * HYPER["accum"], (s + 1) * HYPER["accum"]); n = sum(int((b["labels"][i][:, 1:] != -100).sum()) for i in at); total = 0.0
        for i in at:
            logits = pm(input_ids=b["input_ids"][i], attention_mask=b["attention_mask"][i]).logits[:, :-1]; labels = b["labels"][i][:, 1:]; there = labels != -100
            loss = number_loss(kind, logits[there], labels[there]) / n; loss.backward(); total += float(loss.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(params, HYPER["clip"])); lr = sch.get_last_lr()[0]
        opt.step(); sch.step(); opt.zero_grad(); log.append(dict(step=s + 1, loss=total, grad_norm=norm, lr=lr, targets=n))
    return log, {golden.adapter_key(n): p.data for n, p in pm.named_parameters() if p.requires_grad}


if __name__ == "__main__":
    (here / "number").mkdir(exist_ok=True)
    out = dict(versions=golden.versions(), head=HEAD, values={k: values(k) for k in ("soft", "crps")}, runs={})
    for kind in ("soft", "crps"):
        with golden.true_f64():
            log, final = run(kind, torch.float64)
        log32, _ = run(kind, torch.float32)
        out["runs"][kind] = dict(adapter=ADAPTER, base="f32", model="model/tiny_a", scheduler="linear", loss_norm="tokens", hyper=HYPER, soft=kind,
            start="lora/<adapter>/adapter_model.safetensors", steps=log,
            f32_vs_f64=dict(loss_maxabs=max(abs(a["loss"] - c["loss"]) for a, c in zip(log32, log)), grad_norm_maxrel=max(abs(a["grad_norm"] - c["grad_norm"]) / c["grad_norm"] for a, c in zip(log32, log))))
        if kind == "soft": golden.st(str(here / "number/soft.safetensors"), {k: v.float() for k, v in final.items()})
    golden.dump(str(here / "number/number.json"), out)
