"""Makes cases of strangers' files, with what the reference makes of each.

    python tests/strangers/make.py --kind templates --cases 250 --seed 1 --out DIR

writes DIR/<kind>.jsonl, a case a line:

    {"id": "templates-1-17", "files": {"model/config.json": "text" | {"base64": "…"}}, "input": {…}, "expect": {…}}

Each kind is a module of `kinds/` with `cases(rng, count)`, a generator of such objects without `id`. It yields only
inputs that the reference accepts. The same seed gives the same cases.
"""

import argparse
import importlib
import json
import pathlib
import random
import sys

KINDS = ["adapters", "answers", "chats", "configurations", "gguf", "tables", "templates", "tokenizers"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append", help="may be given several times; all otherwise")
    parser.add_argument("--cases", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    args.out.mkdir(parents=True, exist_ok=True)
    for kind in args.kind or KINDS:
        module = importlib.import_module(f"kinds.{kind}")
        rng = random.Random(f"{kind}-{args.seed}")
        with open(args.out / f"{kind}.jsonl", "w", encoding="utf-8") as file:
            for number, case in enumerate(module.cases(rng, args.cases)):
                line = {"id": f"{kind}-{args.seed}-{number}", **case}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                print(f"\r{kind}: {number + 1}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)


if __name__ == "__main__":
    main()
