"""What generators share: portable weights, tiny models, small tokenizers of several sorts.

Weights are functions of a seed and a name, so that a case stores neither: `tests/strangers/model.rs` makes the same.
"""

import functools
import json
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
EMBEDDED = ROOT / "assets/model"

# ------------------------------------------------------------------------------------------ weights


def hash_uniform(n, stream):
    """n values in [-1, 1) of 24 bits: z the finalizer of SplitMix64 of stream * 0x9E3779B97F4A7C15 + i, u = (z >> 40) * 2^-23 - 1."""
    with np.errstate(over="ignore"):
        z = np.arange(n, dtype=np.uint64) + np.uint64(stream) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def stream(seed, name):
    """FNV-1a, 64 bits, of "seed:name"."""
    h = 0xCBF29CE484222325
    for byte in f"{seed}:{name}".encode():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def values(seed, name, shape):
    """The tensor of that name, f32; scales are powers of two, so that both sides have the same bits.

    A vector whose name ends in norm.weight: 1 + u/4; other vectors: u/4; embeddings and heads: u; other matrices:
    u * 2^(1 - floor(log2(columns)) // 2), about 1.15 / sqrt(columns) as a standard deviation.
    """
    u = hash_uniform(int(np.prod(shape)), stream(seed, name)).reshape(shape)
    if len(shape) == 1:
        return u * np.float32(0.25) + np.float32(1 if name.endswith("norm.weight") else 0)
    if "embed_tokens" in name or "lm_head" in name:
        return u
    return u * np.float32(2.0 ** (1 - (int(shape[-1]).bit_length() - 1) // 2))


def recipe(seed, shapes, dtype="F32"):
    """What a case gives of its weights: `model.rs` writes model.safetensors from it (dtype: F32, F16 or BF16)."""
    return {"seed": seed, "dtype": dtype, "tensors": {name: list(shape) for name, shape in shapes.items()}}


def write_weights(path, recipe):
    """The same file in Python."""
    import torch
    from safetensors.torch import save_file

    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[recipe["dtype"]]
    tensors = {n: torch.from_numpy(values(recipe["seed"], n, s)).to(dtype) for n, s in recipe["tensors"].items()}
    save_file(tensors, str(path), metadata={"format": "pt"})


# ------------------------------------------------------------------------------------------- models

FAMILIES = ["llama", "qwen2", "mistral"]


def config(rng, family="llama", vocab_size=320, **changes):
    """The config.json of a tiny model, as a dict."""
    names = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "mistral": "MistralForCausalLM"}
    heads, kv = rng.choice([(4, 2), (4, 4), (2, 1)])
    made = {
        "architectures": [names[family]],
        "model_type": family,
        "vocab_size": vocab_size,
        "hidden_size": 64,
        "intermediate_size": rng.choice([96, 128]),
        "num_hidden_layers": rng.choice([1, 2]),
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "max_position_embeddings": 256,
        "rms_norm_eps": rng.choice([1e-5, 1e-6]),
        "rope_theta": rng.choice([10000.0, 500000.0]),
        "hidden_act": "silu",
        "tie_word_embeddings": rng.random() < 0.3,
    }
    if family == "mistral":
        made["sliding_window"] = None
    return {**made, **changes}


def shapes(config):
    """Names and shapes of the tensors that this configuration wants."""
    d, f, v = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    e = config.get("head_dim") or d // config["num_attention_heads"]
    q, kv = e * config["num_attention_heads"], e * config.get("num_key_value_heads", config["num_attention_heads"])
    found = {"model.embed_tokens.weight": (v, d)}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        linears = {"self_attn.q_proj": (q, d), "self_attn.k_proj": (kv, d), "self_attn.v_proj": (kv, d), "self_attn.o_proj": (d, q)}
        linears |= {"mlp.gate_proj": (f, d), "mlp.up_proj": (f, d), "mlp.down_proj": (d, f)}
        for name, shape in linears.items():
            found[f"{at}{name}.weight"] = shape
            if config["model_type"] == "qwen2" and name[10:] in ("q_proj", "k_proj", "v_proj"):
                found[f"{at}{name}.bias"] = shape[:1]
        found[f"{at}input_layernorm.weight"] = found[f"{at}post_attention_layernorm.weight"] = (d,)
    found["model.norm.weight"] = (d,)
    if not config.get("tie_word_embeddings", False):
        found["lm_head.weight"] = (v, d)
    return found


def write_model(folder, files, recipe):
    """A model folder: the files of a case (text, or {"base64": …}) and the weights of its recipe."""
    import base64

    folder = pathlib.Path(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else base64.b64decode(content["base64"]))
    if recipe is not None:
        write_weights(folder / "model.safetensors", recipe)
    return folder


def load(folder, **options):
    """The model of a folder as transformers reads it, in f32 on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="eager", **options).eval()


@functools.cache
def embedded():
    """The model of the repository."""
    return load(EMBEDDED)


def logits(model, ids):
    """f32 logits [tokens, vocabulary] of one sequence."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].numpy()


# --------------------------------------------------------------------------------------- tokenizers

TEXT = """A dog is a good friend. The price of item 3 costs $12.50, or 1,299 in all; the other one costs 5 + 5 = 10.
What is it? It's the naïve café — “quoted” text, über 20 °C, and 東京 is in 日本. Done! Rent is due; the answer is no.
def add(a, b):\n    return a + b\n\n\nThen the dog and the cat went to the end of the street, where they are still."""


def words(text=TEXT):
    return text.split(" ")


def letter(byte):
    """GPT-2's alphabet: the character that stands for a byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte) if byte in plain else chr(256 + sum(1 for b in range(byte) if b not in plain))


def special(id, content, **changes):
    made = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {**made, **changes}


def _merges(pieces, count):
    """The `count` most frequent merges of lists of pieces, the first of equal ones."""
    pieces, made = [list(p) for p in pieces], []
    while len(made) < count:
        counts = {}
        for piece in pieces:
            for pair in zip(piece, piece[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        best = max(counts, key=counts.get)
        made.append(best)
        for piece in pieces:
            i = 0
            while i + 1 < len(piece):
                if (piece[i], piece[i + 1]) == best:
                    piece[i : i + 2] = [piece[i] + piece[i + 1]]
                i += 1
    return made


def _bpe(vocab, merges, **changes):
    made = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    made |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [list(m) for m in merges]}
    return {**made, **changes}


def template(before=(), after=()):
    """A TemplateProcessing that puts special tokens (text, id) before and behind."""
    put = lambda tokens: [{"SpecialToken": {"id": text, "type_id": 0}} for text, _ in tokens]
    return {
        "type": "TemplateProcessing",
        "single": [*put(before), {"Sequence": {"id": "A", "type_id": 0}}, *put(after)],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {text: {"id": text, "ids": [id], "tokens": [text]} for text, id in [*before, *after]},
    }


def _json(added, model, **parts):
    made = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None}
    return {**made, "pre_tokenizer": None, "post_processor": None, "decoder": None, **parts, "model": model}


def byte_level(text=TEXT, merges=60, specials=("<s>", "</s>", "<|im_end|>"), **parts):
    """Byte-level BPE as GPT-2, Llama 3 and Qwen2 have it; the special tokens come last."""
    pieces = [[letter(b) for b in ((" " if i else "") + word).encode()] for i, word in enumerate(words(text))]
    made = _merges(pieces, merges)
    vocab = {token: id for id, token in enumerate([letter(b) for b in range(256)] + ["".join(m) for m in made])}
    added = [special(len(vocab) + i, token) for i, token in enumerate(specials)]
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return _json(added, _bpe(vocab, made), **{"pre_tokenizer": step, "decoder": step, **parts})


def sentencepiece(text=TEXT, merges=60, style="legacy", specials=("<|im_end|>",), byte_fallback=True, **parts):
    """BPE of a SentencePiece model: <unk>, <s>, </s>, the 256 bytes, merges, letters; then special tokens.

    style: "legacy" (Llama 2: a normalizer prepends "▁"; the decoder strips one space), "metaspace" (always, first or
    never: Metaspace with that prepend_scheme before and behind).
    """
    pieces = [list("▁" + word) for word in words(text)]
    made = _merges(pieces, merges)
    letters = sorted({c for piece in pieces for c in piece} | {"▁"})
    tokens = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    tokens += list(dict.fromkeys(["".join(m) for m in made] + letters))
    vocab = {token: id for id, token in enumerate(tokens)}
    added = [special(i, token) for i, token in enumerate(["<unk>", "<s>", "</s>"])]
    added += [special(len(vocab) + i, token) for i, token in enumerate(specials)]
    model = _bpe(vocab, made, unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback)
    replace = lambda a, b: {"type": "Replace", "pattern": {"String": a}, "content": b}
    fallback = [{"type": "ByteFallback"}] if byte_fallback else []
    if style == "legacy":
        normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]}
        decoder = [replace("▁", " "), *fallback, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
        own = {"normalizer": normalizer, "decoder": {"type": "Sequence", "decoders": decoder}}
    else:
        space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": style, "split": style != "first"}
        own = {"pre_tokenizer": space, "decoder": {"type": "Sequence", "decoders": [*fallback, space]}}
    return _json(added, model, **{"post_processor": template([("<s>", 1)]), **own, **parts})


def word_piece(text=TEXT, specials=("[UNK]", "[CLS]", "[SEP]", "<|im_end|>"), cleanup=True, **parts):
    """WordPiece as BERT has it: lower case, whole words and their letters."""
    found = [w for word in words(text.lower()) for w in [word.strip(".,;!?“”()=+\n")] if w.isalpha()]
    letters = sorted({c for c in text.lower() if not c.isspace()})
    tokens = list(dict.fromkeys([*specials, *letters, *(f"##{c}" for c in letters), *sorted(set(found))]))
    vocab = {token: id for id, token in enumerate(tokens)}
    added = [special(vocab[token], token) for token in specials]
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab}
    own = {
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": cleanup},
    }
    return _json(added, model, **{**own, **parts})


def vocabulary_size(tokenizer):
    """One more than the largest id."""
    return 1 + max([*tokenizer["model"]["vocab"].values(), *(t["id"] for t in tokenizer["added_tokens"])])


def dumps(value):
    """JSON as a case stores it: small, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
