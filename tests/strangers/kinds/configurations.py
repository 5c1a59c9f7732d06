"""Folders of models: `config.json` in the layouts of transformers 4 and 5, tensors under the names that it reads, and the
logits that it computes. Weights are made on both sides by a portable generator."""

import base64
import contextlib
import io
import json
import math
import os
import pathlib
import shutil
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import AutoModelForCausalLM, BitsAndBytesConfig  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)

TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def hash_uniform(n, stream):
    """`n` values in [-1, 1) with 24 bits, as tests/golden_runner/hash.rs makes them."""
    with np.errstate(over="ignore"):
        z = np.arange(n, dtype=np.uint64) + np.uint64(stream) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def values(tensor):
    """`(u · scale + offset)` in f32, rounded to the type."""
    n = math.prod(tensor["shape"])
    made = hash_uniform(n, tensor["stream"]) * np.float32(tensor["scale"]) + np.float32(tensor["offset"])
    return torch.from_numpy(made.reshape(tensor["shape"])).to(TYPES[tensor["dtype"]])


def rope(rng, config, length, head_dim):
    """RoPE's parameters, wherever transformers puts them."""
    sure = lambda p: rng.random() < p
    theta = rng.choice([100.0, 10000.0, 5000.5, 500000.0, 1000000])
    kind = rng.choice(["default", "none", "linear", "dynamic", "yarn", "yarn", "longrope", "llama3", "llama3", "proportional"])
    inner = {}
    if kind == "none":
        place = rng.choice(["absent", "null", "empty"])
        if place == "null":
            config[rng.choice(["rope_scaling", "rope_parameters"])] = None
        if place == "empty":
            config["rope_scaling"] = {}
        if sure(0.7):
            config["rope_theta"] = theta
        return
    if kind == "linear":
        inner["factor"] = rng.choice([2, 4.0, 1.5])
    elif kind == "dynamic":
        inner["factor"] = rng.choice([2.0, 8])
        if sure(0.9):
            config["max_position_embeddings"] = length + rng.randint(0, 64)
    elif kind == "yarn":
        inner["factor"] = rng.choice([2.0, 4.0, 8, 1.0])
        for key, choices in [
            ("attention_factor", [0.5, 1.25, None]),
            ("beta_fast", [16, 32.0, 4]),
            ("beta_slow", [1, 0.5, 2]),
            ("mscale", [0.707, 1.0, 0]),
            ("mscale_all_dim", [0.5, 1.0, 0]),
            ("truncate", [True, False]),
        ]:
            if sure(0.3):
                inner[key] = rng.choice(choices)
        if sure(0.1):
            inner["factor"] = None
    elif kind == "longrope":
        inner["short_factor"] = [round(rng.uniform(1, 3), 3) for _ in range(head_dim // 2)]
        inner["long_factor"] = [round(rng.uniform(2, 9), 3) for _ in range(head_dim // 2)]
        if sure(0.4):
            inner["factor"] = rng.choice([2.0, 4])
        if sure(0.3):
            inner["attention_factor"] = rng.choice([1.1, 0.8])
    elif kind == "llama3":
        inner |= {"factor": rng.choice([8.0, 2]), "low_freq_factor": 1.0, "high_freq_factor": rng.choice([4.0, 8])}
    elif kind == "proportional":
        if sure(0.6):
            inner["factor"] = rng.choice([1.0, 2.0])
        if sure(0.8):
            inner["partial_rotary_factor"] = rng.choice([0.5, 0.25, 1.0, 0.75])
    if kind in ("yarn", "longrope", "llama3"):
        # Long enough for this case's tokens, so that longrope's short factors hold.
        original = rng.choice([length, length + 9, 64, 128])
        where = rng.random()
        if where < 0.6:
            inner["original_max_position_embeddings"] = original
        if 0.5 < where < 0.9:
            config["original_max_position_embeddings"] = original + (7 if where < 0.6 else 0)
        if where >= 0.9:
            config["max_position_embeddings"] = length + rng.randint(0, 64)
    inner[rng.choice(["rope_type", "rope_type", "type"])] = kind
    if "type" not in inner and sure(0.15):
        inner["type"] = rng.choice([kind, "linear", "su"])
    if "type" in inner and "rope_type" not in inner and sure(0.1):
        inner["rope_type"] = kind
    if kind == "default" and sure(0.3):
        inner.pop("rope_type", None)
        inner["rope_theta"] = theta
    place = rng.random()
    if place < 0.55:
        inner["rope_theta"] = theta
        if place < 0.1:
            config["rope_theta"] = 123.0
    elif place < 0.9:
        config["rope_theta"] = theta
    if kind in ("default", "proportional") and sure(0.2):
        config["partial_rotary_factor"] = 0.5
    if sure(0.1):
        inner["unsloth_extra"] = 3
    key = rng.choice(["rope_scaling", "rope_parameters"])
    config[key] = inner
    if key == "rope_scaling" and sure(0.15):
        config["rope_parameters"] = {"rope_type": "default", "rope_theta": 77.0}
    elif sure(0.15):
        config["rope_scaling" if key == "rope_parameters" else "rope_parameters"] = None


EXTRA = {
    "_name_or_path": "someone/else",
    "unsloth_version": "2026.11.1",
    "transformers_version": "4.51.0",
    "use_cache": False,
    "initializer_range": 0.5,
    "attention_dropout": 0.1,
    "pretraining_tp": 2,
    "rope_interleaved": True,
    "final_logit_softcapping": 1.0,
    "residual_multiplier": 3.0,
    "logits_scaling": 8,
    "rotary_dim": 4,
    "auto_map": {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"},
    "is_llama_config": True,
    "output_attentions": False,
    "use_bidirectional_attention": True,
    "clip_qkv": 0.5,
    "temperature": 0.1,
    "num_labels": 3,
    "model_max_length": 7,
}


def model(rng):
    sure = lambda p: rng.random() < p
    family = rng.choice(["llama", "llama", "qwen2", "mistral"])
    head_dim = rng.choice([8, 16, 32])
    heads = rng.choice([2, 4, 8]) if family == "mistral" else rng.choice([2, 3, 4])
    kv = rng.choice([k for k in range(1, heads + 1) if heads % k == 0])
    whole = sure(0.6)
    hidden = heads * head_dim if whole else heads * rng.choice([8, 12, 20, 24])
    inter, vocab, layers, length = rng.choice([32, 48, 80]), rng.choice([40, 64, 97]), rng.randint(1, 3), rng.randint(5, 24)
    config = {
        "model_type": family,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inter,
        "vocab_size": vocab,
    }
    if not whole or sure(0.4):
        config["head_dim"] = head_dim
    if kv == heads and sure(0.4):
        if family == "llama" or sure(0.5):
            if sure(0.5):
                config["num_key_value_heads"] = None
        else:
            config["num_key_value_heads"] = kv
        if family == "llama":
            config.pop("num_key_value_heads", None) if sure(0.5) else None
    else:
        config["num_key_value_heads"] = kv
    if family == "mistral" and heads == 8 and sure(0.4):
        config.pop("num_key_value_heads", None)
        kv = 8
    if family != "llama" and "num_key_value_heads" not in config and not (family == "mistral" and heads == 8):
        config["num_key_value_heads"] = kv
    if sure(0.7):
        config["architectures"] = [{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "mistral": "MistralForCausalLM"}[family]]
    elif sure(0.1):
        config["architectures"] = [rng.choice(["MistralForCausalLM", "LlamaForCausalLM"])]
    for key, choices, p in [
        ("rms_norm_eps", [1e-5, 1e-6, 0.01], 0.8),
        ("max_position_embeddings", [64, 512, 4096], 0.8),
        ("hidden_act", ["silu", "silu", "swish"], 0.7),
        ("attention_bias", [False] if family == "llama" else [False, True], 0.4),
        ("mlp_bias", [False] if family == "llama" else [False, True], 0.3),
        ("bos_token_id", [1, None], 0.5),
        ("eos_token_id", [2, [2, 3], None], 0.5),
        ("pad_token_id", [0, None], 0.4),
        ("dtype", ["float32", "bfloat16", "float16"], 0.3),
        ("torch_dtype", ["float32", "bfloat16"], 0.4),
    ]:
        if sure(p):
            config[key] = rng.choice(choices)
    tie = rng.choice([True, False, None])
    if tie is not None:
        config["tie_word_embeddings"] = tie
    rope(rng, config, length, head_dim)
    if sure(0.5):
        config["sliding_window"] = rng.choice([None, length, length + 5, 4096])
    if sure(0.03):
        config["sliding_window"] = 3
    if family == "qwen2" and sure(0.5):
        config["use_sliding_window"] = sure(0.5)
        if sure(0.7):
            config["max_window_layers"] = rng.choice([0, 1, 2, 28])
    if sure(0.15):
        config["layer_types"] = ["full_attention"] * layers
    for key in rng.sample(list(EXTRA), rng.choice([0, 0, 1, 2, 4])):
        config[key] = EXTRA[key]

    dtype = rng.choice(["F32", "F32", "BF16", "F16"])
    stream = rng.randint(1, 2**40)
    tensors = []

    def add(name, shape, scale, offset=0.0):
        kind = dtype if sure(0.9) else rng.choice(list(TYPES))
        tensors.append({"name": name, "shape": shape, "dtype": kind, "stream": stream + len(tensors), "scale": scale, "offset": offset})

    tied = bool(tie)
    heads_in_file = rng.choice(["none", "same", "other", "alone"]) if tied else "other"
    if heads_in_file != "alone":
        add("model.embed_tokens.weight", [vocab, hidden], 1.0)
    for layer in range(layers):
        base = f"model.layers.{layer}"
        for name, rows, cols in [
            ("self_attn.q_proj", heads * head_dim, hidden),
            ("self_attn.k_proj", kv * head_dim, hidden),
            ("self_attn.v_proj", kv * head_dim, hidden),
            ("self_attn.o_proj", hidden, heads * head_dim),
            ("mlp.gate_proj", inter, hidden),
            ("mlp.up_proj", inter, hidden),
            ("mlp.down_proj", hidden, inter),
        ]:
            add(f"{base}.{name}.weight", [rows, cols], round(2.0 / math.sqrt(cols), 4))
            if family == "qwen2" and name.split(".")[1] in ("q_proj", "k_proj", "v_proj"):
                add(f"{base}.{name}.bias", [rows], 0.5)
        add(f"{base}.input_layernorm.weight", [hidden], 0.3, 1.0)
        add(f"{base}.post_attention_layernorm.weight", [hidden], 0.3, 1.0)
        if sure(0.04):
            add(f"{base}.self_attn.rotary_emb.inv_freq", [head_dim // 2], 1.0)
    add("model.norm.weight", [hidden], 0.3, 1.0)
    if heads_in_file != "none":
        add("lm_head.weight", [vocab, hidden], round(1.7 / math.sqrt(hidden), 4))
        if heads_in_file == "same":
            tensors[-1] |= {key: tensors[0][key] for key in ("stream", "scale", "dtype")}
    if sure(0.012):
        kind = rng.choice(["bias", "norm", "layer", "double"])
        if kind == "bias":
            add("model.layers.0.mlp.up_proj.bias", [inter], 1.0)
        elif kind == "norm":
            add("model.layers.0.self_attn.q_norm.weight", [head_dim], 1.0)
        elif kind == "layer":
            add(f"model.layers.{layers}.input_layernorm.weight", [hidden], 1.0)
        else:
            add("model.model.norm.weight", [hidden], 1.0)
    prefix = rng.random()
    if prefix < 0.2:
        for tensor in tensors:
            tensor["name"] = tensor["name"].removeprefix("model.") if "inv_freq" not in tensor["name"] else tensor["name"]
    elif prefix < 0.25:
        for tensor in tensors:
            if tensor["name"] == "lm_head.weight":
                tensor["name"] = "model.lm_head.weight"
    shards = rng.choice([1, 1, 1, 2, 3])
    for i, tensor in enumerate(tensors):
        tensor["file"] = "model.safetensors" if shards == 1 else f"model-{i * shards // len(tensors) + 1:05}-of-{shards:05}.safetensors"
    files = {"config.json": json.dumps(config)}
    if shards > 1:
        index = {"metadata": {"total_size": 1}, "weight_map": {t["name"]: t["file"] for t in tensors}}
        files["model.safetensors.index.json"] = json.dumps(index)
    if sure(0.3):
        files["generation_config.json"] = json.dumps({"eos_token_id": [2, 5], "do_sample": True, "temperature": 0.6})
    ids = [rng.randrange(vocab) for _ in range(length)]
    return files, {"ids": ids, "tensors": tensors, "quant": "none"}


SKIPS = [
    None,
    ["lm_head"],
    ["lm_head", "model.layers.0"],
    ["lm_head", "model.layers.1"],
    ["lm_head", "mlp"],
    ["lm_head", "down_proj", "model.layers.0.self_attn"],
    ["lm_head", "o_proj"],
    ["lm_head", "model.layers.1.mlp", "model.layers.10"],
    ["lm_head", r"model\.layers\.\d+\.self_attn.q_proj"],
    ["lm_head", "layers.0"],
    ["lm_head", ".*mlp"],
    ["lm_head", "model.layers.0.self_attn.", "up_proj"],
]


def quantized(rng):
    """A model that bitsandbytes quantized and transformers saved."""
    sure = lambda p: rng.random() < p
    family = rng.choice(["llama", "qwen2", "mistral"])
    config = {
        "model_type": family, "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 32, "num_hidden_layers": rng.randint(1, 2), "vocab_size": 24, "max_position_embeddings": 64,
        "tie_word_embeddings": sure(0.4), "rms_norm_eps": 1e-5,
    }
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    place = tempfile.mkdtemp()
    try:
        classes = {
            "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
            "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
            "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
        }
        kind, cls = classes[family]
        whole = cls(kind(**{k: v for k, v in config.items() if k != "model_type"}))
        stream = rng.randint(1, 2**40)
        for i, (name, parameter) in enumerate(whole.named_parameters()):
            offset = 1.0 if "norm" in name else 0.0
            scale = 0.3 if "norm" in name else 0.5 if "bias" in name else 1.0 if "embed" in name else 0.25
            made = hash_uniform(parameter.numel(), stream + i) * np.float32(scale) + np.float32(offset)
            parameter.data = torch.from_numpy(made.reshape(parameter.shape))
        half = rng.choice([torch.float32, torch.bfloat16, torch.bfloat16, torch.float16])
        whole.to(half).save_pretrained(f"{place}/whole")
        bnb = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=sure(0.5),
            bnb_4bit_compute_dtype=rng.choice([None, torch.float32]),
            bnb_4bit_quant_storage=rng.choice([None, torch.uint8]),
            llm_int8_skip_modules=rng.choice(SKIPS),
        )
        small = AutoModelForCausalLM.from_pretrained(f"{place}/whole", quantization_config=bnb, dtype=half)
        small.save_pretrained(f"{place}/small")
        files = {}
        for path in sorted(pathlib.Path(f"{place}/small").iterdir()):
            data = path.read_bytes()
            files[path.name] = data.decode() if path.suffix == ".json" else {"base64": base64.b64encode(data).decode()}
        saved = json.loads(files["config.json"])
        if sure(0.3):
            saved["unsloth_fixed"] = True
            files["config.json"] = json.dumps(saved)
    finally:
        shutil.rmtree(place)
    ids = [rng.randrange(24) for _ in range(rng.randint(4, 16))]
    return files, {"ids": ids, "tensors": [], "quant": "nf4"}


def reference(files, case):
    place = tempfile.mkdtemp()
    try:
        for name, content in files.items():
            data = base64.b64decode(content["base64"]) if isinstance(content, dict) else content.encode()
            pathlib.Path(place, name).write_bytes(data)
        by_file = {}
        for tensor in case["tensors"]:
            by_file.setdefault(tensor["file"], {})[tensor["name"]] = values(tensor)
        for name, tensors in by_file.items():
            save_file(tensors, os.path.join(place, name), metadata={"format": "pt"})
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            loaded, info = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, output_loading_info=True, attn_implementation="eager")
        if info["missing_keys"] or info["mismatched_keys"]:
            return None
        # Computing is f32 on both sides: transformers keeps a quantized model in the type that it
        # was saved in.
        for module in loaded.modules():
            state = getattr(getattr(module, "weight", None), "quant_state", None)
            if state is not None:
                state.dtype = torch.float32
                module.support_avx512bf16_for_cpu = False
        for parameter in loaded.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.float()
        loaded.eval()
        with torch.no_grad():
            logits = loaded(torch.tensor([case["ids"]])).logits[0]
        return [[float(f"{x:.7g}") for x in row] for row in logits[[0, len(case["ids"]) // 2, -1]].tolist()]
    finally:
        shutil.rmtree(place)


def cases(rng, count):
    done = 0
    while done < count:
        files, case = quantized(rng) if rng.random() < 0.1 else model(rng)
        try:
            logits = reference(files, case)
        except (Exception, SystemExit):
            continue
        if logits is None or not all(math.isfinite(x) for row in logits for x in row):
            continue
        done += 1
        yield {"files": files, "input": case, "expect": logits}
