"""References for the pricer: parser, colours, metrics and baselines, by Python's re, numpy and scikit-learn.

    pip install numpy scikit-learn && python make_golden.py        # writes pricer.json beside this file

Nothing here reads the project's code; the texts are made up.
"""

import json
import random
import re
from pathlib import Path

import numpy as np
import sklearn
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_squared_error, r2_score

rng = random.Random(7)
PATTERN = re.compile(r"[-+]?\d*\.\d+|\d+")


def parse(text):
    match = PATTERN.search(text.replace("$", "").replace(",", ""))
    return float(match.group()) if match else 0.0


def colour(guess, truth):
    error = abs(guess - truth)
    if error < 40 or error / truth < 0.2:
        return "green"
    return "orange" if error < 80 or error / truth < 0.4 else "red"


odd = ["", "no idea", "$1,299.00", "-5", "-5.5", "+.25", "1e9", "12.", "..7", "a 3 b 4", " 99\n\n100", "-$7.50", "1.2.3",
       "three", "1,2,3", "$ 45", "0", "000123", "+7", "3-4", "٣", "12abc", "99,99", "1 000"]
predictions = [{"text": t, "truth": round(rng.uniform(1, 999), 2)} for t in odd]
for _ in range(176):
    truth = round(rng.lognormvariate(4.5, 1.0), 2) + 0.5
    guess = truth * rng.lognormvariate(0, 0.5)
    form = rng.choice(["{:.2f}", "${:,.2f}", "{:.0f}.00", "about {:.0f}", "{:.0f}"])
    predictions.append({"text": form.format(guess), "truth": truth})
for p in predictions:
    p["guess"] = parse(p["text"]) if p["text"] != "٣" else 0.0  # digits are ASCII's in the project
    p["colour"] = colour(p["guess"], p["truth"])

g = np.array([p["guess"] for p in predictions])
y = np.array([p["truth"] for p in predictions])
e = np.abs(g - y)
names = [p["colour"] for p in predictions]
metrics = {
    "mae": e.mean(), "mae_ci95": 1.96 * e.std() / np.sqrt(len(e)), "mse": mean_squared_error(y, g),
    "rmse": np.sqrt(mean_squared_error(y, g)), "r2": r2_score(y, g), "median_error": np.median(e),
    **{c: names.count(c) / len(names) for c in ("green", "orange", "red")},
}

# Baselines: products made of words with hidden values.
kinds = {"lamp": 30, "drill": 90, "laptop": 700, "mouse": 25, "monitor": 250, "chair": 120, "router": 80, "the kettle": 40}
words = [f"w{i:03d}" for i in range(400)] + ["and", "with", "of", "very", "the", "x", "usb_c", "ünïcode", "Größe"]
worth = {w: rng.uniform(-30, 30) for w in words}
makers = ["Acme", "Bolt", "Cray", "Dyna"]


def product():
    kind = rng.choice(list(kinds))
    some = [rng.choice(words) for _ in range(rng.randint(4, 12))]
    price = max(1.0, kinds[kind] + sum(worth[w] for w in some) + rng.gauss(0, 15))
    title = f"{rng.choice(makers)} {kind} {' '.join(some[:3])}"
    summary = f"Title: {title}\nCategory: {kind}\nDescription: A {kind} {', '.join(some[3:])}."
    return {"prompt": f"What does this cost to the nearest dollar?\n\n{summary}\n\nPrice is $", "summary": summary,
            "category": kind, "price": round(min(price, 999.0), 2)}


train, test = [product() for _ in range(900)], [product() for _ in range(60)]
prices = np.array([p["price"] for p in train])
texts, test_texts = [p["summary"] for p in train], [p["summary"] for p in test]
medians = {k: float(np.median([p["price"] for p in train if p["category"] == k])) for k in kinds}

count = CountVectorizer(max_features=2000, stop_words="english")
x = count.fit_transform(texts)
bag = np.maximum(0, LinearRegression().fit(x.toarray(), prices).predict(count.transform(test_texts).toarray()))
sparse_bag = np.maximum(0, LinearRegression().fit(x, prices).predict(count.transform(test_texts)))
tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
xt = tfidf.fit_transform(texts)
ridge = Ridge(alpha=1.0, solver="cholesky").fit(xt.toarray(), np.log(prices))
baselines = {
    "constant_mean": [float(prices.mean())] * len(test),
    "constant_median": [float(np.median(prices))] * len(test),
    "category_median": [medians[p["category"]] for p in test],
    "bag_of_words": bag.tolist(),
    "tfidf_ridge": np.exp(ridge.predict(tfidf.transform(test_texts).toarray())).tolist(),
}
print("dense against sparse LinearRegression, largest difference $", np.abs(bag - sparse_bag).max())
keep = lambda rows: [[p["prompt"], p["price"]] for p in rows]
out = {
    "made_with": f"numpy {np.__version__}, scikit-learn {sklearn.__version__}",
    "predictions": predictions, "metrics": metrics,
    "features": {"counts": x.shape[1], "tfidf": xt.shape[1]},
    "train": keep(train), "test": keep(test), "baselines": baselines,
}
Path(__file__).with_name("pricer.json").write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
