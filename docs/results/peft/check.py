"""Does PEFT load an adapter of `wgpu-lora train` unchanged and compute the same logits?

    python check.py MODEL ADAPTER WGPU_LORA [--bnb]

MODEL: the base model's folder. ADAPTER: `RUNDIR/adapter`. WGPU_LORA: the program.
For three prompts, every logit ([T, V], f32) of `wgpu-lora logits` is compared with PEFT's on the CPU, for the adapter as
`train` wrote it and as PEFT's `save_pretrained` writes it again. With --bnb the base is 4 bit on both sides: `--quant nf4`
here, bitsandbytes' Linear4bit (nf4, double quantization) there. Exit 1 above BOUND.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import subprocess
import sys
import tempfile

import peft
import safetensors
import safetensors.torch
import torch
import transformers

BOUND = 1e-3
# Below this the adapter did nothing, and agreement would prove nothing.
LEAST_EFFECT = 0.1
QUESTION = "What does this cost to the nearest dollar?"
PROMPTS = [
    f"{QUESTION}\n\nTitle: Adesso iMouse M60\nCategory: Mice\nBrand: Adesso\n"
    "Description: An optical mouse with up to 1200 DPI.\n"
    "Details: Connection Wired, Wireless; hand orientation both; color Black.\n\nPrice is $",
    "The capital of France is Paris, and the capital of Japan is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
]


def base_model(folder, bnb):
    """The base in f32, or its decoder's linear layers in real bitsandbytes NF4."""
    more = {}
    if bnb:
        more["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
        more["device_map"] = "cpu"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **more
    )
    for layer in model.modules():
        # Where the CPU has bf16 instructions, Linear4bit would multiply in bf16 for inference,
        # whatever compute_dtype says.
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return model.eval()


@torch.no_grad()
def logits(model, ids):
    return model(torch.tensor([ids])).logits[0].float()


def ours(program, model, adapter, ids, quant):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "logits.safetensors")
        command = [program, "logits", "-q", "--model", model, "--adapter", adapter, "--quant", quant]
        command += ["--ids", ",".join(map(str, ids)), "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return safetensors.torch.load_file(out)["logits"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("model", "adapter", "wgpu_lora"):
        parser.add_argument(name)
    parser.add_argument("--bnb", action="store_true", help="4-bit base on both sides")
    args = parser.parse_args()

    versions = [f"python {platform.python_version()}"]
    versions += [f"{m.__name__} {m.__version__}" for m in (torch, transformers, peft, safetensors)]
    if args.bnb:
        import bitsandbytes

        versions.append(f"bitsandbytes {bitsandbytes.__version__}")
    program = subprocess.run([args.wgpu_lora, "--version"], check=True, capture_output=True, text=True)
    print(f"{program.stdout.strip()}; {', '.join(versions)}")
    config = json.loads(pathlib.Path(args.adapter, "adapter_config.json").read_text())
    weights = pathlib.Path(args.adapter, "adapter_model.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    print(
        f"adapter: r={config['r']} lora_alpha={config['lora_alpha']} "
        f"target_modules={','.join(sorted(config['target_modules']))} sha256={digest[:16]}"
    )

    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    model = base_model(args.model, args.bnb)
    without = [logits(model, ids) for ids in prompts]
    model = peft.PeftModel.from_pretrained(model, args.adapter).eval()
    loaded = peft.get_peft_model_state_dict(model)
    written = safetensors.torch.load(weights)
    if loaded.keys() != written.keys() or any(not torch.equal(loaded[k], written[k]) for k in written):
        sys.exit(f"PEFT loaded other tensors: {sorted(loaded.keys() ^ written.keys())[:4]} ...")
    print(f"PEFT holds all {len(written)} tensors of the adapter, bit for bit")
    with_adapter = [logits(model, ids) for ids in prompts]

    quant = "nf4" if args.bnb else "none"
    worst, least = 0.0, float("inf")
    with tempfile.TemporaryDirectory() as again:
        model.save_pretrained(again)
        for label, adapter in (("as train wrote it", args.adapter), ("saved again by PEFT", again)):
            for number, (ids, base, theirs) in enumerate(zip(prompts, without, with_adapter), 1):
                mine = ours(args.wgpu_lora, args.model, adapter, ids, quant)
                if mine.shape != theirs.shape or not torch.isfinite(mine - theirs).all():
                    sys.exit(f"prompt {number}: logits {list(mine.shape)}, PEFT {list(theirs.shape)}, or not finite")
                error = (mine - theirs).abs().max().item()
                effect = (theirs - base).abs().max().item()
                worst, least = max(worst, error), min(least, effect)
                print(
                    f"{label}, --quant {quant}, prompt {number}: {list(mine.shape)} logits, max |difference| {error:.2e} "
                    f"(largest logit {theirs.abs().max().item():.1f}; the adapter moves them by up to {effect:.2f}; "
                    f"same best token at {(mine.argmax(1) == theirs.argmax(1)).sum()} of {len(ids)} positions)"
                )
    passed = worst <= BOUND and least >= LEAST_EFFECT
    print(f"{'ok' if passed else 'FAILED'}: worst {worst:.2e}, bound {BOUND:.0e}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
