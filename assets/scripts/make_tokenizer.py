"""Trains the tokenizer of assets/model: byte-level BPE with Llama 3's splitting, in which 0 to 999 are one token each.

    python make_tokenizer.py corpus.jsonl --out ../model --vocabulary 2048

Text is learnt without its digits; then come the 100 numbers of two digits (00 to 99) and the 900 of three (100 to
999), so that every number below 1,000 is one token. As in Llama 3, a piece that is in the vocabulary is taken whole.
"""

import argparse
import json
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# The splitting of Llama 3: digits in groups of up to three from the left.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"]


def pre_tokenizer():
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("corpus", type=Path)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--vocabulary", type=int, default=2048)
    a = args.parse_args()

    numbers = [f"{n:02d}" for n in range(100)] + [str(n) for n in range(100, 1000)]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizer()
    texts = (re.sub(r"\d+", "", "".join(json.loads(line))) for line in a.corpus.open())
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=a.vocabulary - len(numbers) - len(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    learnt = json.loads(learner.to_str())["model"]
    vocabulary = {token: i for token, i in learnt["vocab"].items()}
    merges = [list(m) if not isinstance(m, str) else m.split(" ") for m in learnt["merges"]]
    for n in numbers:
        vocabulary[n] = len(vocabulary)
        merges.append([n[:-1], n[-1]])

    full = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(m) for m in merges], ignore_merges=True))
    full.pre_tokenizer = pre_tokenizer()
    full.decoder = decoders.ByteLevel()
    full.add_special_tokens(SPECIAL)
    data = json.loads(full.to_str())
    bos = SPECIAL[0]
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {bos: {"id": bos, "ids": [full.token_to_id(bos)], "tokens": [bos]}},
    }
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[0], "eos_token": SPECIAL[1],
        "pad_token": SPECIAL[2], "model_max_length": 512, "clean_up_tokenization_spaces": False,
    }
    (a.out / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")

    check = Tokenizer.from_file(str(a.out / "tokenizer.json"))
    assert check.get_vocab_size() == a.vocabulary, check.get_vocab_size()
    for n in range(1000):
        assert len(check.encode(f"${n}", add_special_tokens=False).ids) == 2, n
    text = "What does this cost to the nearest dollar?\n\nTitle: 12.50 kg of gravel\n\nPrice is $318.00"
    assert check.decode(check.encode(text).ids) == text
    print(check.encode(text).tokens)


if __name__ == "__main__":
    main()
