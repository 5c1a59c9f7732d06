"""Makes assets/diamonds/diamonds.csv: real stones of at most $999 from the `diamonds` data set of plotnine, in words.

    pip download plotnine --no-deps && python make_diamonds.py plotnine-*.whl --out ../diamonds

One stone for each combination of weight, cut, colour and clarity, drawn at random with a fixed seed, so that no text
comes twice. Standard library only.
"""

import argparse
import csv
import io
import random
import zipfile
from pathlib import Path


def product(stone):
    cut, colour, clarity = stone["cut"].lower(), stone["color"], stone["clarity"]
    return {
        "title": f"Diamond, {cut} cut, clarity {clarity}, colour {colour}, {float(stone['carat']):.2f} carat",
        "category": "",
        "brand": "",
        "description": "",
        "details": "",
        "price": stone["price"],
    }


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("wheel", type=Path)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--seed", type=int, default=42)
    a = args.parse_args()
    with zipfile.ZipFile(a.wheel) as wheel:
        stones = list(csv.DictReader(io.TextIOWrapper(wheel.open("plotnine/data/diamonds.csv"), "utf-8")))
        licence = next(n for n in wheel.namelist() if n.endswith("licenses/LICENSE"))
        licence = wheel.read(licence).decode()
    stones = [s for s in stones if int(s["price"]) <= 999]
    random.Random(a.seed).shuffle(stones)
    products = {}
    for stone in stones:
        one = product(stone)
        products.setdefault(one["title"], one)
    a.out.mkdir(parents=True, exist_ok=True)
    with (a.out / "diamonds.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=["title", "category", "brand", "description", "details", "price"], lineterminator="\n")
        table.writeheader()
        table.writerows(products.values())
    (a.out / "LICENSE").write_text(licence)
    print(f"{len(products)} of {len(stones)} stones")


if __name__ == "__main__":
    main()
