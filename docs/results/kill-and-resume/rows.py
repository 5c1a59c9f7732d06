"""Rows of the price job from products, and how well guessing from frequencies does on them.

    python rows.py TRAIN.jsonl VALIDATION.jsonl      writes train_rows.jsonl, validation_rows.jsonl

Products have title, category, brand, description, details, price. The guesses know only the completions of the
training rows, token by token as SmolLM2 has them (a digit, the point, the end): how often each token comes; how often
at each position; how often at each position after the token before it. The last is the strongest: it knows that every
answer ends in ".00" and an end of text, and how prices begin and go on. Counts are smoothed by one (all) or a third
(the last) per token of the alphabet, which is best for the guesses here.
"""
import collections
import json
import math
import sys

QUESTION = "What does this cost to the nearest dollar?"
FIELDS = ("title", "category", "brand", "description", "details")
ALPHABET = 12 + 1  # ten digits, the point, the end, and one for all else


def write(source, target):
    completions = []
    with open(source) as lines, open(target, "w") as out:
        for line in lines:
            item = json.loads(line)
            summary = "\n".join(f"{k.capitalize()}: {item[k]}" for k in FIELDS if item.get(k))
            completion = f"{round(item['price'])}.00"
            row = {"prompt": f"{QUESTION}\n\n{summary}\n\nPrice is $", "completion": completion}
            out.write(json.dumps(row) + "\n")
            completions.append([*completion, "<end>"])
    return completions


def guess(train, held_out, context, smooth):
    """Mean NLL of the held-out tokens under smoothed counts of (context, token)."""
    counts = collections.defaultdict(collections.Counter)
    for row in train:
        for i, token in enumerate(row):
            counts[context(row, i)][token] += 1
    nll = n = 0
    for row in held_out:
        for i, token in enumerate(row):
            seen = counts[context(row, i)]
            nll -= math.log((seen[token] + smooth) / (seen.total() + smooth * ALPHABET))
            n += 1
    return nll / n


train = write(sys.argv[1], "train_rows.jsonl")
held_out = write(sys.argv[2], "validation_rows.jsonl")
print(f"{len(train)} training rows, {len(held_out)} validation rows of {sum(map(len, held_out))} tokens")
print(f"guess by frequency:                    {guess(train, held_out, lambda r, i: 0, 1):.4f}")
print(f"guess by position:                     {guess(train, held_out, lambda r, i: i, 1):.4f}")
before = lambda r, i: (i, r[i - 1] if i else "")
print(f"guess by position and token before it: {guess(train, held_out, before, 1 / 3):.4f}")
