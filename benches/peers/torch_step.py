#!/usr/bin/env python3
"""PyTorch on the CPU: a LoRA step of a Llama model, r = 16 on all seven linears, loss on all tokens.

    pip install torch transformers peft safetensors accelerate
    python benches/peers/torch_step.py MODEL [BATCH] [SEQ] [STEPS] [THREADS]

f32 weights (NF4 changes no shape and no time here: PyTorch multiplies dense matrices). Prints one JSON object.
"""
import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

model, *numbers = sys.argv[1:]
batch, seq, steps, threads = [int(x) for x in numbers] + [4, 128, 4, 2][len(numbers):]
torch.set_num_threads(threads)
base = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
base.config.use_cache = False
modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
net = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules=modules))
net.train()
optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=2e-4)
ids = torch.randint(5, base.config.vocab_size, (batch, seq), generator=torch.Generator().manual_seed(0))
seconds = []
for _ in range(steps + 1):
    start = time.perf_counter()
    net(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - start)
timed = sorted(seconds[1:])
median = timed[len(timed) // 2]
print(json.dumps({
    "name": "PyTorch f32 LoRA step", "torch": torch.__version__, "threads": threads, "batch": batch, "seq": seq,
    "ms": 1e3 * median, "tokens_per_second": batch * seq / median,
    "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
}))
