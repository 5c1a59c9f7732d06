"""Makes cases of strangers' files, with what the reference makes of each.

    python tests/strangers/make.py --kind templates --cases 250 --seed 1 --out DIR

writes DIR/<kind>.jsonl (with --fixture <kind>.jsonl.gz), a case a line:

    {"id": "templates-1-17", "files": {"model/config.json": "text" | {"base64": "…"}}, "input": {…}, "expect": {…}}

Each kind is a module of `kinds/` with `cases(rng, count)`, a generator of such objects without `id`. It yields only
inputs that the reference accepts. The same seed gives the same cases.
"""

import argparse
import gzip
import importlib.util
import json
import pathlib
import random
import sys

KINDS = ["adapters", "answers", "chats", "configurations", "gguf", "tables", "templates", "tokenizers"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append", help="may be given several times; all otherwise")
    parser.add_argument("--cases", type=int, help="250, or 40 of a fixture")
    parser.add_argument("--seed", type=int, help="1, or 7 of a fixture")
    parser.add_argument("--out", type=pathlib.Path, help="a folder; `cases` beside this file for a fixture")
    parser.add_argument("--fixture", action="store_true", help="the small set that is kept, compressed; equal cases give equal bytes")
    args = parser.parse_args()
    here = pathlib.Path(__file__).parent
    count = args.cases or (40 if args.fixture else 250)
    seed = args.seed if args.seed is not None else (7 if args.fixture else 1)
    out = args.out or (here / "cases" if args.fixture else None)
    if out is None:
        parser.error("--out names the folder")
    sys.path.insert(0, str(here))
    out.mkdir(parents=True, exist_ok=True)
    for kind in args.kind or KINDS:
        if importlib.util.find_spec(f"kinds.{kind}") is None:
            print(f"{kind}: no generator yet", file=sys.stderr)
            continue
        module = importlib.import_module(f"kinds.{kind}")
        lines = []
        for number, case in enumerate(module.cases(random.Random(f"{kind}-{seed}"), count)):
            line = {"id": f"{kind}-{seed}-{number}", **case}
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            print(f"\r{kind}: {number + 1}", end="", file=sys.stderr, flush=True)
        text = "".join(lines).encode()
        if args.fixture:
            (out / f"{kind}.jsonl.gz").write_bytes(gzip.compress(text, 9, mtime=0))
        else:
            (out / f"{kind}.jsonl").write_bytes(text)
        print(f", {len(text) / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
