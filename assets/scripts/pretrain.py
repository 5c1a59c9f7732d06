"""Pretrains the model of assets/ from nothing, on a CPU.

    python pretrain.py WORDNET/dict --model ../model --minutes 20 [--resume STATE]

The text is made as it is read (corpus.py), so no document comes twice. Hidden matrices are trained by Muon
(Jordan et al. 2024, torch.optim.Muon), the embedding and the norms by AdamW; the learning rate falls to zero linearly
over the second half of the time. Answers weigh `--answer-weight` times as much as other text.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from corpus import documents

CONFIG = dict(
    vocab_size=2048, hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6,
    num_key_value_heads=2, head_dim=32, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
    attention_bias=False, mlp_bias=False, hidden_act="silu",
)


class Rows:
    """Documents packed end to end into rows of `length` + 1 tokens; answers of up to three characters weigh more."""

    def __init__(self, folder, tokenizer, seed, length, answer_weight):
        self.docs, self.tokenizer, self.length, self.answer = documents(folder, seed), tokenizer, length, answer_weight
        self.bos, self.eos = tokenizer.token_to_id("<|begin_of_text|>"), tokenizer.token_to_id("<|end_of_text|>")
        self.ids, self.weights = [], []

    def fill(self, tokens):
        docs = []
        have = len(self.ids)
        while have < tokens:
            docs.append(next(self.docs))
            have += sum(map(len, docs[-1])) / 3
        for pieces, enc in zip(docs, self.tokenizer.encode_batch(["".join(d) for d in docs], add_special_tokens=False)):
            edges, at = [], 0
            for i, piece in enumerate(pieces):
                edges.append((at, at + len(piece), i % 2 == 1))
                at += len(piece)
            answers = [(a, b) for a, b, is_answer in edges if is_answer and b - a <= 3]
            weights = [1.0] * len(enc.ids)
            for k, (start, _) in enumerate(enc.offsets):
                if any(a <= start < b for a, b in answers):
                    weights[k] = self.answer
            self.ids += [self.bos, *enc.ids, self.eos]
            self.weights += [0.0, *weights, 1.0]

    def batch(self, rows):
        need = rows * self.length + 1
        while len(self.ids) < need:
            self.fill(need)
        ids, weights = torch.tensor(self.ids[:need]), torch.tensor(self.weights[:need])
        del self.ids[: need - 1], self.weights[: need - 1]
        x, y, w = ids[:-1].view(rows, -1), ids[1:].view(rows, -1), weights[1:].view(rows, -1)
        return x, y, w


def number_features(tokenizer):
    """Ids of the number tokens, and (count, features): where each lies, as waves of its value and of its logarithm, from
    long to short, whether it is written with a leading zero, and a constant."""
    spellings = [(str(n), n, 0.0) for n in range(1000)] + [(f"0{n}", n, 1.0) for n in range(10)]
    ids = torch.tensor([tokenizer.token_to_id(text) for text, _, _ in spellings])
    n = torch.tensor([n for _, n, _ in spellings], dtype=torch.float32)
    periods = (2000, 1000, 500, 250, 125, 64, 32, 16, 100, 50, 20, 10, 5, 2.5)
    waves = [2 * math.pi * n / period for period in periods]
    waves += [2 * math.pi * torch.log1p(n) / period for period in (14, 7, 3.5, 1.75)]
    zero = torch.tensor([z for _, _, z in spellings])
    return ids, torch.stack([f(w) for w in waves for f in (torch.sin, torch.cos)] + [zero, torch.ones(len(n))], 1)


class Table(torch.nn.Module):
    """The embedding, tied to the head. A number's row is a linear image of its features: what is learnt of one number is
    learnt of its neighbours, and the order of numbers need not be found. When pretraining is over the rows are written
    out; the model itself knows nothing of this."""

    def __init__(self, weight, tokenizer):
        super().__init__()
        self.rows = torch.nn.Parameter(weight.detach().clone())
        ids, features = number_features(tokenizer)
        self.register_buffer("ids", ids)
        self.register_buffer("features", features)
        self.image = torch.nn.Parameter(torch.randn(features.shape[1], weight.shape[1]) * 0.02)

    def forward(self):
        return self.rows.index_copy(0, self.ids, self.features @ self.image)


def save(model, folder):
    """bf16 weights and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **CONFIG, "rope_theta": 10000.0, "torch_dtype": "bfloat16"}
    config |= {k: getattr(model.config, k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    generation = {k: config[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id")} | {"do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("wordnet", type=Path)
    args.add_argument("--model", type=Path, required=True, help="folder with tokenizer.json; the model is written there")
    args.add_argument("--minutes", type=float, default=20.0, help="0 writes the initial weights")
    args.add_argument("--batch", type=int, default=6)
    args.add_argument("--length", type=int, default=128)
    args.add_argument("--lr", type=float, default=0.02, help="Muon's; AdamW's is --adam-lr")
    args.add_argument("--adam-lr", type=float, default=2e-3)
    args.add_argument("--image-lr", type=float, default=1e-3, help="AdamW's for the image of the number features")
    args.add_argument("--answer-weight", type=float, default=6.0)
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--state", type=Path, help="where to keep weights and optimizer between runs")
    args.add_argument("--resume", action="store_true", help="go on from --state")
    a = args.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)

    tokenizer = Tokenizer.from_file(str(a.model / "tokenizer.json"))
    ids = {f"{k}_token_id": tokenizer.token_to_id(f"<|{v}|>") for k, v in dict(bos="begin_of_text", eos="end_of_text", pad="pad").items()}
    model = LlamaForCausalLM(LlamaConfig(**CONFIG, rope_theta=10000.0, **ids, attn_implementation="sdpa"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 2:
                p.normal_(0, 0.02 if "embed" in name else p.shape[1] ** -0.5)
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    p.mul_(0.3)
    table = Table(model.get_input_embeddings().weight, tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for p in model.parameters() if p.ndim != 2] + [table.rows]
    muon = torch.optim.Muon(matrices, lr=a.lr, momentum=0.95, weight_decay=0.01, ns_steps=4, adjust_lr_fn="original")
    adam = torch.optim.AdamW(others, lr=a.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    waves = torch.optim.AdamW([table.image], lr=a.image_lr, betas=(0.9, 0.95), weight_decay=0.0)
    optimizers = dict(muon=muon, adam=adam, waves=waves)
    model.get_input_embeddings().weight.requires_grad_(False)
    step, spent = 0, 0.0
    if a.resume:
        kept = torch.load(a.state, weights_only=True)
        model.load_state_dict(kept["model"]), table.load_state_dict(kept["table"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(kept[name])
        step = kept["step"]
    rows = Rows(a.wordnet, tokenizer, a.seed + 1000 * step, a.length, a.answer_weight)
    start, shown, total = time.process_time(), time.time(), []
    wall = time.time()
    while True:
        share = (time.time() - wall) / (60 * a.minutes) if a.minutes else 1.0
        if share >= 1.0:
            break
        scale = min(1.0, (step + 1) / 50, 2 * (1 - share))
        for optimizer, lr in ((muon, a.lr), (adam, a.adam_lr), (waves, a.image_lr)):
            for group in optimizer.param_groups:
                group["lr"] = lr * scale
        x, y, w = rows.batch(a.batch)
        with torch.autocast("cpu", torch.bfloat16):
            rows_of = table()
            hidden = model.model(inputs_embeds=torch.nn.functional.embedding(x, rows_of)).last_hidden_state
            logits = hidden @ rows_of.T
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="none")
        w = w.flatten()
        mean = (loss * w).sum() / w.sum()
        mean.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        hit = w == a.answer_weight
        total.append((loss[~hit].mean().item(), loss[hit].mean().item()))
        step += 1
        if time.time() - shown > 20:
            text, answers = np.mean(total, axis=0)
            rate = len(total) * x.numel() / (time.time() - shown)
            print(f"step {step}  {100 * share:.0f} %  text {text:.3f}  answers {answers:.3f}  {rate:.0f} tokens/s", flush=True)
            shown, total = time.time(), []
        if a.state and step % 200 == 0:
            kept = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
            torch.save(dict(model=model.state_dict(), table=table.state_dict(), step=step, **kept), a.state)
    print(f"{step} steps, {step * a.batch * a.length:,} tokens, {(time.process_time() - start) / 60:.1f} CPU minutes")
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(table())
    save(model, a.model)


if __name__ == "__main__":
    main()
