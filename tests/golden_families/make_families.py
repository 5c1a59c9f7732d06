#!/usr/bin/env python3
"""Goldens of the other families, and of LoRA that differs by layer: tiny random checkpoints with their logits and losses.

    python make_families.py OUT        needs torch, transformers, peft

OUT/<family>/ is a checkpoint as transformers saves it, weights in bf16; everything is computed from these in f32.
`forward_f32.safetensors` holds the batch (two rows of 13 tokens, loss on all), `logits`, `loss`, `loss_f64`.
OUT/<family>/<adapter>/ is an adapter as PEFT saves it and its own `forward_f32.safetensors` with `logits`, `loss` and
`grad.<PEFT key>`: lora on all layers; dora on q, k, v (the bias comes after the magnitude); patterns, where rank and alpha
differ by layer; layers, on the second layer only.
"""
import os, sys
import torch, transformers, peft
from safetensors.torch import save_file

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SMALL = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=96,
             max_position_embeddings=64, rope_theta=10000.0, bos_token_id=1, eos_token_id=2, pad_token_id=0)
FAMILIES = {
    "mistral": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**SMALL, head_dim=16, sliding_window=None, tie_word_embeddings=False)),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SMALL, use_sliding_window=False, tie_word_embeddings=True)),
}
ADAPTERS = {"mistral": {}, "qwen2": {
    "lora": dict(r=2, lora_alpha=4, target_modules=ALL),
    "dora": dict(r=3, lora_alpha=6, target_modules=ALL[:3], use_dora=True),
    "patterns": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"v_proj": 3, "layers.1.mlp.down_proj": 5},
                     alpha_pattern={"v_proj": 9, "^model.layers.0.self_attn.q_proj": 7}, use_rslora=True),
    "layers": dict(r=2, lora_alpha=4, target_modules=["k_proj", "o_proj"], layers_to_transform=[1]),
}}


def randomize(model, seed):
    # Small enough that torch's own f32 gradients agree with f64 to 6e-6, as those of the golden set
    # do: at 0.2 attention is so sharp that the gradient of k nearly cancels, and torch itself is
    # off by 6e-5.
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.requires_grad:
            value = torch.randn(p.shape, generator=g) * (0.3 if "lora_" in name else 0.06) + (1.0 if "norm" in name or "magnitude" in name else 0.0)
            p.data = value if "lora_" in name else value.bfloat16().float()


def main(out):
    ids = torch.randint(3, 96, (2, 13), generator=torch.Generator().manual_seed(7))
    meta = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    batch = {"input_ids_i32": ids.int(), "attention_mask_i32": torch.ones_like(ids).int(), "labels_i32": ids.int()}
    save = lambda tensors, *path: save_file({k: v.contiguous() for k, v in tensors.items()}, os.path.join(out, *path, "forward_f32.safetensors"), metadata=meta)
    def clean(*path):
        for name in ["README.md", "generation_config.json"]:
            if os.path.exists(os.path.join(out, *path, name)): os.remove(os.path.join(out, *path, name))
    for family, make in FAMILIES.items():
        base = make(); randomize(base, 11); base.eval()
        f = base(input_ids=ids, labels=ids)
        d = make(); d.load_state_dict(base.state_dict()); d.double().eval()
        result = dict(batch, logits=f.logits.detach(), loss=f.loss.detach(), loss_f64=d(input_ids=ids, labels=ids).loss.detach())
        again = make(); again.load_state_dict(base.state_dict()); again.bfloat16().save_pretrained(os.path.join(out, family))
        save(result, family); clean(family)
        for name, settings in ADAPTERS[family].items():
            again = make(); again.load_state_dict(base.state_dict())
            model = peft.get_peft_model(again, peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings))
            randomize(model, 13); model.eval()
            f = model(input_ids=ids, labels=ids); f.loss.backward()
            result = dict(batch, logits=f.logits.detach(), loss=f.loss.detach())
            for key, p in model.named_parameters():
                if p.grad is not None:
                    key = key.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
                    result[f"grad.{key}"] = p.grad
            model.peft_config["default"].base_model_name_or_path = family
            model.save_pretrained(os.path.join(out, family, name))
            save(result, family, name); clean(family, name)


main(*sys.argv[1:])
