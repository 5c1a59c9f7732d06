"""GGUF files of Llama's and Qwen2's architecture, and what llama.cpp makes of them.

A case stores the file up to its tensors' values; those follow from a seed, also those of block types, whose bytes are drawn.
llama.cpp computes with 8-bit activations where weights are in blocks, so the logits are those of a twin in F32, under the same
metadata. Its weights are the same numbers (gguf's own dequantization), those of block types rounded to 16 bits, as the
program presents them: what is left is the order of sums. llama.cpp must open the file itself, too.
Needs the libraries of llama.cpp; `llama_cpp.py` says where they come from.
"""

import base64
import pathlib
import tempfile

import gguf
import numpy as np

import llama_cpp
from kinds import common

Q = gguf.GGMLQuantizationType
# Bytes of a block at which f16 scales lie: they are made small numbers.
SCALES = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208]}
SMALL = {Q.Q4_0: 2**-5, Q.Q4_1: 2**-5, Q.Q5_0: 2**-6, Q.Q5_1: 2**-6, Q.Q8_0: 2**-9, Q.Q4_K: 2**-10, Q.Q5_K: 2**-11, Q.Q6_K: 2**-14}

TEXTS = ["A dog is a good friend.", "  two  spaces, item 3 costs $12.50", "x = 5 + 5\n\n\tdef f():\n", "naïve café — “quoted” 東京", "It's 20 °C; we'll see 1,299 or 007", "", " ",
         "e\u0301 \u00a0 odd", "<s>[x]</s> end", "a<|im_end|>b <|im_end|> c", "!!! ??? ...", "THE END\r\n  of 3x4", "👍🏽 ok", "don't DON'T x'S"]


def pieces(seed, name, shape, kind):
    """Bytes of a tensor, as the judge makes them, and the numbers that they mean."""
    if kind in SCALES:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        n = int(np.prod(shape)) // block
        drawn = (common.hash_uniform(n * size, common.stream(seed, name)).astype(np.float64) * 8388608 + 8388608).astype(np.uint32)
        raw = (drawn & 255).astype(np.uint8).reshape(n, size)
        for place, at in enumerate(SCALES[kind]):
            # d between 1/2 and 1 of the small number; a minimum of half of it, of either sign where
            # it has one.
            base = np.float32(SMALL[kind]) * (np.float32(1) if place == 0 else np.float32(0.5))
            scale = (np.float32(0.5) + (drawn.reshape(n, size)[:, at] >> 8 & 255).astype(np.float32) / np.float32(512)) * base
            if place and kind in (Q.Q4_1, Q.Q5_1):
                scale = -scale * np.float32(16)
            raw[:, at : at + 2] = scale.astype(np.float16).view(np.uint8).reshape(n, 2)
        rows = raw.reshape(*shape[:-1], -1)
        return rows.tobytes(), gguf.dequantize(rows, kind).astype(np.float16).astype(np.float32).reshape(shape)
    values = common.values(seed, name, shape)
    if kind == Q.F16:
        half = values.astype(np.float16)
        return half.tobytes(), half.astype(np.float32)
    if kind == Q.BF16:
        raw = gguf.quantize(values, kind)
        return raw.tobytes(), gguf.dequantize(raw, kind).astype(np.float32).reshape(shape)
    return values.astype(np.float32).tobytes(), values.astype(np.float32)


def vocabulary(rng):
    """Keys of a tokenizer, and how many tokens it has."""
    keys, extra = {}, rng.sample(["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|fim_pad|>", "<reponame>", "<|file_sep|>", "[x]", "<|end|>", "<tool>", "</s>", "<|eom_id|>"], rng.randint(1, 5))
    if rng.random() < 0.45:
        made = common.sentencepiece(merges=rng.choice([20, 60]), specials=())
        vocab = sorted(made["model"]["vocab"], key=made["model"]["vocab"].get)
        tokens = vocab + [t for t in extra if t not in vocab]
        rank = {"".join(m): i for i, m in enumerate(made["model"]["merges"])}
        keys["model"], keys["scores"] = "llama", [-float(rank[t]) if t in rank else (-1000.0 if i >= 259 else 0.0) for i, t in enumerate(tokens)]
        kinds = [2, 3, 3] + [6] * 256 + [1] * (len(vocab) - 259) + [rng.choice([3, 4]) for _ in tokens[len(vocab) :]]
        if rng.random() < 0.7:
            keys["bos_token_id"], keys["eos_token_id"], keys["unknown_token_id"] = 1, 2, 0
        if rng.random() < 0.5:
            keys["add_space_prefix"] = rng.random() < 0.5
        if rng.random() < 0.5:
            keys["pre"] = "default"
    else:
        made = common.byte_level(merges=rng.choice([20, 60]), specials=("<s>",))
        vocab = sorted(made["model"]["vocab"], key=made["model"]["vocab"].get)
        tokens = vocab + ["<s>"] + extra
        keys["model"], keys["merges"] = "gpt2", [" ".join(m) for m in made["model"]["merges"]]
        keys["pre"] = rng.choice(["llama-bpe", "qwen2", "smollm", "gpt-2", "default", "deepseek-r1-qwen", "llama3", "olmo", "starcoder", "stablelm2", "smaug-bpe", None])
        if keys["pre"] is None:
            del keys["pre"]
        kinds = [1] * len(vocab) + [3] + [rng.choice([3, 4, 3, 1]) for _ in extra]
        keys["bos_token_id"], keys["eos_token_id"] = len(vocab), rng.randrange(len(vocab), len(tokens))
    for key in ("eot", "eom", "padding", "fim_pad", "fim_rep", "fim_pre", "seperator", "mask"):
        if rng.random() < 0.15:
            keys[f"{key}_token_id"] = rng.randrange(len(tokens) - len(extra), len(tokens))
    for key, chance in [("add_bos_token", 0.5), ("add_eos_token", 0.2), ("remove_extra_whitespaces", 0.2), ("add_sep_token", 0.1)]:
        if rng.random() < chance:
            keys[key] = rng.random() < 0.5
    while len(tokens) % 32:
        kinds.append(5)
        tokens.append(f"[PAD{len(tokens)}]")
    keys["tokens"], keys["token_type"] = tokens, kinds
    return keys


def rope(rng, arch, e):
    """Keys of the rotary embedding."""
    keys = {}
    if rng.random() < 0.8:
        keys["rope.freq_base"] = rng.choice([10000.0, 500000.0, 1000000.0, 1234.5])
    style = rng.choice(["none", "none", "linear", "untyped", "old", "both", "off", "zero", "llama3", "factors", "yarn"])
    factor = rng.choice([2.0, 4.0, 1.5, 8.0])
    if style == "linear":
        keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
    elif style == "untyped":
        keys |= {"rope.scaling.factor": factor}
    elif style == "old":
        keys |= {"rope.scale_linear": factor}
    elif style == "both":
        keys |= {"rope.scaling.factor": factor, "rope.scale_linear": 3.0}
    elif style == "off":
        keys |= {"rope.scaling.type": "none", "rope.scaling.factor": factor}
    elif style == "zero":
        keys |= {"rope.scaling.factor": 0.0}
    elif style == "yarn":
        keys |= {"rope.scaling.type": "yarn", "rope.scaling.factor": rng.choice([factor, 1.0, 0.5])}
    if rng.random() < 0.2:
        keys |= {"rope.scaling.original_context_length": 64, "rope.scaling.finetuned": True}
    if rng.random() < 0.15:
        keys |= rng.choice([{"rope.scaling.attn_factor": 1.0}, {"rope.scaling.alpha": 2.0}, {"rope.scaling.yarn_beta_fast": 16.0}])
    factors = None
    if style == "llama3" and arch == "llama":
        base = keys.get("rope.freq_base", 10000.0)
        by, low, high, original = rng.choice([(8.0, 1.0, 4.0, 8192), (32.0, 1.0, 4.0, 8192)])
        factors = []
        for i in range(e // 2):
            wave = 2 * np.pi * base ** (2 * i / e)
            smooth = (original / wave - low) / (high - low)
            factors.append(1.0 if wave < original / high else by if wave > original / low else 1 / ((1 - smooth) / by + smooth))
    if style == "factors" and arch == "llama":
        factors = [rng.choice([0.5, 1.0, 1.0 + i / 3, 7.0]) for i in range(e // 2)]
        if rng.random() < 0.3:
            keys |= {"rope.scaling.factor": factor}
    return keys, factors


def add(writer, key, value):
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    (writer.add_array if isinstance(value, list) else kinds[type(value)])(key, value)


def draw(rng):
    arch = rng.choice(["llama", "llama", "qwen2"])
    heads, kv = rng.choice([(4, 2), (4, 4), (2, 1), (4, 1)])
    blocks = rng.choice([[Q.F32], [Q.F16], [Q.BF16], [Q.Q8_0], [Q.Q4_0, Q.Q5_0], [Q.Q4_1, Q.Q5_1, Q.F16], [Q.Q8_0, Q.F32, Q.BF16], [Q.Q4_K, Q.Q6_K, Q.Q5_K]])
    d = 256 if Q.Q4_K in blocks else 64
    e = d // heads if arch == "qwen2" or rng.random() < 0.7 else rng.choice([8, 32])
    if arch == "llama" and (e * heads) % 32:
        e = 32
    if d == 256:
        e = d // heads
    f, layers = (256 if d == 256 else rng.choice([64, 96])), rng.choice([1, 2] if d == 64 else [1])
    words = vocabulary(rng)
    v = len(words["tokens"])
    keys = {"context_length": 256, "embedding_length": d, "block_count": layers, "attention.head_count": heads, "feed_forward_length": f, "attention.layer_norm_rms_epsilon": rng.choice([1e-5, 1e-6])}
    keys["attention.layer_norm_rms_epsilon"] = float(np.float32(keys["attention.layer_norm_rms_epsilon"]))
    if kv != heads or rng.random() < 0.5:
        keys["attention.head_count_kv"] = kv
    if e != d // heads or rng.random() < 0.5:
        keys |= {"attention.key_length": e, "attention.value_length": e}
    if e != d // heads or rng.random() < 0.5:
        keys["rope.dimension_count"] = e
    if rng.random() < 0.3:
        keys["vocab_size"] = v
    if rng.random() < 0.2:
        keys["attention.head_count_kv"], keys["attention.head_count"] = [kv] * layers, [heads] * layers
    more, factors = rope(rng, arch, e)
    keys |= more
    for key, value in [("attention.sliding_window", 4), ("logit_scale", 0.5), ("expert_count", 0), ("expert_used_count", 0), ("attention.causal", True), ("embedding_scale", 12.0), ("pooling_type", 0),
                       ("residual_scale", 0.2), ("attention.scale", 0.5), ("rope.freq_base_swa", 5.0), ("tensor_data_layout", "Meta AI original pth"), ("attention.layer_norm_epsilon", 0.1)]:
        if rng.random() < 0.1:
            keys[key] = value
    everything = {f"{arch}.{k}": value for k, value in keys.items()} | {f"tokenizer.ggml.{k}": value for k, value in words.items()}
    if rng.random() < 0.3:
        everything |= {"general.name": rng.choice(["a model", "Phi-3 mini llamafied"]), "general.author": "x", "quantize.imatrix.file": "y", "general.license.name": "z"}
    if everything.get("general.name", "").startswith("Phi") and "</s>" not in words["tokens"]:
        everything["general.name"] = "other"
    if rng.random() < 0.3:
        everything["tokenizer.chat_template"] = "{{ messages }}"
    q, k = e * heads, e * kv
    shapes = {"token_embd.weight": (v, d), "output_norm.weight": (d,)}
    if rng.random() < 0.7:
        shapes["output.weight"] = (v, d)
    biases = [b for b in ("attn_q", "attn_k", "attn_v") if rng.random() < (0.9 if arch == "qwen2" else 0.2)]
    for layer in range(layers):
        linears = {"attn_q": (q, d), "attn_k": (k, d), "attn_v": (k, d), "attn_output": (d, q), "ffn_gate": (f, d), "ffn_up": (f, d), "ffn_down": (d, f)}
        for part, shape in linears.items():
            shapes[f"blk.{layer}.{part}.weight"] = shape
            if part in biases:
                shapes[f"blk.{layer}.{part}.bias"] = shape[:1]
        shapes[f"blk.{layer}.attn_norm.weight"] = shapes[f"blk.{layer}.ffn_norm.weight"] = (d,)
    rare = rng.random()
    if rare < 0.03:
        shapes |= rng.choice([{"blk.0.attn_output.bias": (d,)}, {"blk.0.ffn_up.bias": (f,)}, {"blk.0.attn_q.scale": (1,)}] if arch == "llama" else [{"output.bias": (v,)}, {"blk.0.ffn_up.scale": (1,)}])
    kinds = {name: Q.F32 if len(shape) == 1 else rng.choice(blocks) for name, shape in shapes.items()}
    return arch, everything, shapes, kinds, factors


def write(path, arch, keys, tensors):
    """Tensors by name: (kind, shape, bytes); the place of the first one's bytes."""
    writer = gguf.GGUFWriter(str(path), arch)
    for key, value in keys.items():
        add(writer, key, value)
    for name, (kind, shape, raw) in tensors.items():
        data = np.frombuffer(raw, dtype=np.uint8)
        if kind == Q.F32:
            writer.add_tensor(name, data.view(np.float32).reshape(shape))
        else:
            block, size = gguf.GGML_QUANT_SIZES[kind]
            writer.add_tensor(name, data.reshape(*shape[:-1], shape[-1] // block * size), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return min(t.data_offset for t in gguf.GGUFReader(str(path)).tensors)


def cases(rng, count):
    llama_cpp.folder()
    made = 0
    while made < count:
        arch, keys, shapes, kinds, factors = draw(rng)
        seed = rng.randrange(1 << 30)
        real, twin = {}, {}
        for name, shape in shapes.items():
            raw, values = pieces(seed, name, shape, kinds[name])
            real[name], twin[name] = (kinds[name], shape, raw), (Q.F32, shape, values.tobytes())
        if factors:
            raw = np.array(factors, dtype=np.float32)
            real["rope_freqs.weight"] = twin["rope_freqs.weight"] = (Q.F32, raw.shape, raw.tobytes())
        vocab = len(keys["tokenizer.ggml.tokens"])
        ids = [rng.randrange(vocab) for _ in range(rng.randint(3, 12))]
        texts = rng.sample(TEXTS, 5)
        with tempfile.TemporaryDirectory() as folder:
            path, other = pathlib.Path(folder) / "model.gguf", pathlib.Path(folder) / "twin.gguf"
            at = write(path, arch, keys, real)
            write(other, arch, keys, twin)

            def question():
                model = llama_cpp.Model(path, threads=1, n_ctx=64)
                exact = llama_cpp.Model(other, threads=1, n_ctx=64)
                logits = np.array(exact.feed(ids)[-1], dtype=np.float32)
                return {"ids": [model.encode(text, special) for text in texts for special in (True, False)], "ends": model.ends(), "logits": [float(x) for x in logits]}

            answer = llama_cpp.ask(question)
            head = path.read_bytes()[:at]
            listed = [(t.name, t.data_offset - at, t.n_bytes) for t in gguf.GGUFReader(str(path)).tensors]
        if answer is None:
            continue
        split = rng.random() < 0.1
        plan = [[name, kinds[name].name if name in kinds else "F32", list(real[name][1]), offset] for name, offset, _ in listed]
        logits = answer["logits"]
        keep = sorted(rng.sample(range(vocab), min(vocab, 24)) + [int(np.argmax(logits))])
        yield {
            "files": {"head.bin": {"base64": base64.b64encode(head).decode()}},
            "input": {"seed": seed, "tensors": plan, "factors": factors, "ids": ids, "texts": texts, "split": split},
            "expect": {"ids": answer["ids"], "ends": answer["ends"], "best": int(np.argmax(logits)), "logits": {str(i): logits[i] for i in keep}, "scale": float(np.max(np.abs(logits)))},
        }
        made += 1
