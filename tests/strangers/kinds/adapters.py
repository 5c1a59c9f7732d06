"""Adapters on a tiny model: random adapter_config.json and tensors; expected are the logits by PEFT.

No tensor is stored: the base model's are common.values of seed 1, the adapter's those of the case's seed, a quarter of them,
and magnitudes one more. `input.family` and `input.tied` name the base model, `input.tensors` has the adapter's shapes and types.
"""

import copy
import json
import pathlib
import random
import tempfile
import warnings

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

from kinds import common

LAYERS = 3
IDS = [3, 17, 42, 5, 60, 29]
SIZES = dict(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=LAYERS, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0,
)
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
bases = {}


def scaled(seed, key, shape):
    values = common.values(seed, key, shape) * 0.25
    return torch.from_numpy(values + 1 if len(shape) == 1 else values)


def base(family, tied):
    if (family, tied) not in bases:
        config = common.config(random.Random(1), family, **SIZES, tie_word_embeddings=tied)
        with tempfile.TemporaryDirectory() as folder:
            recipe = common.recipe(1, common.shapes(config))
            bases[family, tied] = common.load(common.write_model(folder, {"config.json": json.dumps(config)}, recipe))
    return copy.deepcopy(bases[family, tied])


NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PARTS = ["self_attn." + n for n in NAMES[:4]] + ["mlp." + n for n in NAMES[4:]]
WHOLE = [
    r".*\.(q|v)_proj", r".*_proj", r"model\.layers\.[01]\.self_attn\.(q_proj|o_proj)", r"(?!.*mlp).*_proj",
    r".*layers\.(?:0|2)\..*(?<!gate)_proj", r"model.layers.\d+.mlp.(gate|up|down)_proj", r".*\.[^.]*[kv]_proj",
    r"(?i).*\.Q_PROJ", r"model\.layers\.1\..*proj", r"^(?!.*(lm_head|embed|self_attn)).*_proj$", r".+\.\w+_proj\b",
    r"(?:.*?(?:language|text).*?(?:q_proj|k_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|v_proj|up_proj)))",
    r"model\.layers\.(?:[0-1])\.(?:self_attn|mlp)\.(?:q|k|v|o|up|gate|down)_proj", r".*[_a-z]\.(?:down|up)_proj\Z",
    r"model.layers.0.self_attn.q_proj", r".*(q_proj|gate_proj)", r"(model\.layers\.(\d)\.)self_attn\.(?P<n>[qo])_proj",
    r".*\.([qv]_proj|mlp\.u[p]{,1}_proj)", r"((?>.*\.))[qk]_proj",
]
KEYS = NAMES + PARTS + [
    "^model.layers.1", "layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj", "^model.layers.2.self_attn.v_proj",
    ".*", "^.*", r"model\.layers\.(0|2)\..*", "[qk]_proj", "^(?!.*mlp).*", "layers.[01].*", "self_attn", "nothing",
    "q.proj", "_proj", ".*_proj", r"mlp\.(up|down)_proj", r"layers\.\d+\.mlp.*", "(q|k)_proj|up_proj", "layers.1..*",
    r"\w+\.\w+\.2\..+", "self.attn.v_proj", r"(?<!mlp\.)(v|up)_proj", "layers", "proj", "layers.(?:1|2).self_attn.*",
    "[^.]+_proj", "1.mlp.gate_proj", r"layers\.1\.(.*)_proj$", "^q_proj", r"\.q_proj", "v_proj$", "lm_head", "",
    "layers.0", r"(?P<which>o|down)_proj", "Q_PROJ", r"model.layers.\d.self_attn.(q|v)_proj", r".*(.)\3n.*",
]


def some(rng, pool, most):
    return rng.sample(pool, rng.randint(1, min(most, len(pool))))


def targets(rng):
    kind = rng.random()
    if kind < 0.35:
        return some(rng, NAMES, 7)
    if kind < 0.45:
        return some(rng, NAMES, 3) + some(rng, ["c_attn", "query_key_value", "w1", "W_pack"], 2)
    if kind < 0.55:
        return some(rng, PARTS, 4)
    if kind < 0.62:
        return some(rng, [f"layers.{i}.{p}" for i in range(LAYERS) for p in PARTS], 8)
    if kind < 0.68:
        return some(rng, [f"model.layers.{i}.{p}" for i in range(LAYERS) for p in PARTS], 19) + some(rng, NAMES, 1)
    if kind < 0.72:
        return [f"model.layers.{i}.{p}" for i in range(LAYERS) for p in PARTS][: rng.randint(20, 21)]
    if kind < 0.80:
        return rng.choice(["all-linear", "ALL-LINEAR", None])
    return rng.choice(WHOLE)


def pattern(rng, value):
    return {key: value() for key in some(rng, KEYS, 4)}


def configuration(rng):
    """A random configuration; not every one is accepted by PEFT."""
    c = {"peft_type": "LORA", "task_type": rng.choice(["CAUSAL_LM"] * 6 + [None, "FEATURE_EXTRACTION"]), "target_modules": targets(rng)}
    if rng.random() < 0.9:
        c["r"] = rng.choice([1, 2, 3, 4, 6])
    if rng.random() < 0.9:
        c["lora_alpha"] = rng.choice([1, 2, 4, 7, 8.5, 16, 3e-1, 0, -3])
    if rng.random() < 0.45:
        c["rank_pattern"] = pattern(rng, lambda: rng.choice([1, 2, 3, 5, 7]))
    if rng.random() < 0.45:
        c["alpha_pattern"] = pattern(rng, lambda: rng.choice([1, 3, 5, 9.5, 12, 0, -2]))
    if rng.random() < 0.25:
        c["exclude_modules"] = rng.choice(
            [[], "", some(rng, NAMES, 2), some(rng, PARTS, 2), [f"layers.{rng.randrange(LAYERS)}.{rng.choice(PARTS)}"],
             [f"model.layers.{rng.randrange(LAYERS)}.{rng.choice(PARTS)}", "lm_head"], r".*\.1\..*", r".*(k|up)_proj", "q_proj",
             r"model\.layers\.(?!0).*", ["nothing"], "all-linear", ["0.mlp.up_proj", "attn"]])
    many = isinstance(c["target_modules"], list) and len(c["target_modules"]) >= 20
    if not isinstance(c["target_modules"], str) and rng.random() < (0.03 if many else 0.3):
        c["layers_to_transform"] = rng.choice([0, 1, 2, [0], [1, 2], [0, 2], [2, 7], [-1, 1], [], 1])
        if rng.random() < 0.5:
            c["layers_pattern"] = rng.choice(
                ["layers", ["layers"], "lay.*", ["blocks", "layers"], "(?:layers|h)", "", [], "h", ["model.layers"], "layers|blocks",
                 r"[^.]+", "l[a-z]{5}", r"model\.layers", "layer"])
    for key in ["use_rslora", "use_dora"]:
        if rng.random() < 0.25:
            c[key] = rng.choice([True, True, False])
    idle = {
        "bias": rng.choice(["none", "none", "all", "lora_only"]), "fan_in_fan_out": rng.choice([True, False]), "inference_mode": rng.choice([True, False]),
        "lora_dropout": rng.choice([0.0, 0.05, 0.5]), "modules_to_save": rng.choice([None, []]),
        "init_lora_weights": rng.choice([True, "gaussian", "Gaussian", "eva", True]), "revision": rng.choice([None, "main"]),
        "auto_mapping": rng.choice([None, {"base_model_class": "LlamaForCausalLM", "parent_library": "x"}]),
        "base_model_name_or_path": rng.choice([None, "someone/model"]), "megatron_core": "megatron.core", "megatron_config": None,
        "loftq_config": rng.choice([{}, {}, {"loftq_bits": 4}]), "eva_config": rng.choice([None, {"rho": 2.0}]),
        "corda_config": rng.choice([None, {"corda_method": "kpm"}]), "lora_ga_config": rng.choice([None, {}]),
        "layer_replication": rng.choice([None, []]), "lora_bias": False, "target_parameters": rng.choice([None, []]),
        "trainable_token_indices": None, "qalora_group_size": rng.choice([16, 32]), "use_qalora": rng.choice([False, True]),
        "alora_invocation_tokens": None, "arrow_config": None, "kasa_config": None, "use_bdlora": None, "velora_config": None,
        "monteclora_config": None, "ensure_weight_tying": rng.choice([True, False]), "peft_version": rng.choice(["0.9.0", "0.21.2"]),
        "runtime_config": {"ephemeral_gpu_offload": False}, "unsloth_version": "2026.1", "extra_key": [1, 2],
    }
    for key in some(rng, sorted(idle), len(idle)) if rng.random() < 0.7 else []:
        c[key] = idle[key]
    # What is refused here by name, although PEFT reads it.
    if rng.random() < 0.02:
        c.update(rng.choice([{"modules_to_save": ["nothing"]}, {"lora_bias": True}]))
    if rng.random() < 0.02 and isinstance(c["target_modules"], list):
        c["target_modules"] = c["target_modules"] + ["lm_head"]
    entries = list(c.items())
    rng.shuffle(entries)
    return dict(entries)


def styled(rng, keys):
    """The keys as some version or tool writes them; PEFT reads all of these."""
    style, magnitude = rng.choice(["", "", ".default"]), rng.choice(["", "", ".weight", ".default.weight"])
    out = {}
    for key in keys:
        new = key
        if key.endswith(".lora_magnitude_vector"):
            new = key + magnitude
        elif style and key.endswith(".weight") and ".lora_" in key:
            new = key.removesuffix(".weight") + style + ".weight"
        out[key] = new
    return out


def made(rng, family, tied):
    """One case, or None if PEFT refuses it."""
    config = configuration(rng)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        text = json.dumps(config, indent=rng.choice([None, 2]), ensure_ascii=False)
        (folder / "adapter_config.json").write_text(text)
        probe = get_peft_model(base(family, tied), PeftConfig.from_pretrained(folder))
        shapes = {k: tuple(v.shape) for k, v in get_peft_model_state_dict(probe, save_embedding_layers=False).items()}
        if not shapes:
            return None
        dropped = set()
        if rng.random() < 0.12 and config.get("init_lora_weights", True) is True:
            modules = sorted({k.split(".lora_")[0] for k in shapes})
            dropped = set(rng.sample(modules, rng.randint(0, len(modules) - 1)))
        shapes = {k: s for k, s in shapes.items() if k.split(".lora_")[0] not in dropped}
        mixed, first = rng.random() < 0.3, rng.choice(list(TYPES))
        tensors, names, seed = {}, styled(rng, shapes), rng.randrange(1 << 20)
        for key, shape in sorted(shapes.items()):
            tensors[names[key]] = [list(shape), rng.choice(list(TYPES)) if mixed else first]
        stored = {key: scaled(seed, key, shape).to(TYPES[kind]) for key, (shape, kind) in tensors.items()}
        save_file(stored, folder / "adapter_model.safetensors")
        model = PeftModel.from_pretrained(base(family, tied), folder).eval()
        with torch.no_grad():
            logits = model(torch.tensor([IDS])).logits[0, -1]
    return {
        "files": {"adapter/adapter_config.json": text},
        "input": {"family": family, "tied": tied, "ids": IDS, "seed": seed, "tensors": tensors},
        "expect": {"logits": [float(f"{v:.7g}") for v in logits.tolist()]},
    }


def cases(rng, count):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    done = 0
    while done < count:
        family, tied = rng.choice(common.FAMILIES), rng.random() < 0.3
        try:
            case = made(rng, family, tied)
        except Exception as error:  # PEFT refuses many random configurations.
            if isinstance(error, (NameError, ImportError, AssertionError)):
                raise
            case = None
        if case:
            done += 1
            yield case
