"""Folders of tokenizers: models, pipelines, added tokens and the files beside `tokenizer.json`, with the ids and texts of
transformers' AutoTokenizer."""

import json
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers  # noqa: E402
import transformers  # noqa: E402
from tokenizers import models, pre_tokenizers, trainers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

transformers.logging.set_verbosity_error()

WORDS = (
    "the a lamp desk price is costs item red blue 12 345 2024 don't we'll it's Rent Paris é naïve Größe 東京 日本語 🙂 "
    "\u0301x e\u0301 ﬁne Ⅷ hello world Hello WORLD foo_bar x+y= -- ... , . ! ? ' n't \"q\" (a) [b] {c} <d> a/b c\\d "
    "user assistant tool call"
).split()
MARKS = ["<s>", "</s>", "<unk>", "<pad>", "<|im_start|>", "<|im_end|>", "<image>", "[X]", "é!", "lamp", "▁tool", " gap "]
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = [QWEN, QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|"), r"\s+|\w+|[^\w\s]+", r"\p{Lu}?\p{Ll}+|.", r"\d"]


def text(rng, marks):
    out = []
    for _ in range(rng.randint(1, 9)):
        kind = rng.random()
        if kind < 0.25:
            out.append(rng.choice(marks))
        elif kind < 0.3:
            out.append(rng.choice(["\n", "\n\n", "\t", "  ", "   ", "\r\n", "\u00a0", "\u3000", "▁", "\u200b"]))
        else:
            out.append(rng.choice(WORDS))
        out.append(rng.choice(["", " ", " ", " ", "  ", "\n"]))
    return "".join(out)


def corpus(rng):
    return [" ".join(rng.choice(WORDS) for _ in range(12)) for _ in range(30)]


def split(rng):
    return {
        "type": "Split",
        "pattern": {"Regex": rng.choice(SPLITS)} if rng.random() < 0.8 else {"String": rng.choice([" ", "a", "."])},
        "behavior": rng.choice(["Isolated", "Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]),
        "invert": rng.random() < 0.1,
    }


def byte_level(rng, regex):
    return {
        "type": "ByteLevel",
        "add_prefix_space": rng.random() < 0.3,
        "trim_offsets": rng.random() < 0.5,
        "use_regex": regex,
    }


def metaspace(rng):
    return {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": rng.choice(["always", "first", "never"]),
        "split": rng.random() < 0.5,
    }


def normalizer(rng):
    one = lambda: rng.choice(
        [
            {"type": "NFC"},
            {"type": "NFD"},
            {"type": "NFKC"},
            {"type": "NFKD"},
            {"type": "Lowercase"},
            {"type": "StripAccents"},
            {"type": "Nmt"},
            {"type": "Strip", "strip_left": rng.random() < 0.5, "strip_right": rng.random() < 0.5},
            {"type": "Replace", "pattern": {"String": "a"}, "content": "o"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "Prepend", "prepend": "x"},
            {
                "type": "BertNormalizer",
                "clean_text": rng.random() < 0.5,
                "handle_chinese_chars": rng.random() < 0.5,
                "strip_accents": rng.choice([None, True, False]),
                "lowercase": rng.random() < 0.5,
            },
        ]
    )
    return rng.choice(
        [None, None, None, one(), {"type": "Sequence", "normalizers": [one() for _ in range(rng.randint(0, 3))]}]
    )


def trained(model, trainer, cut, rng):
    tok = tokenizers.Tokenizer(model)
    if cut is not None:
        tok.pre_tokenizer = cut
    tok.train_from_iterator(corpus(rng), trainer)
    return json.loads(tok.to_str())["model"]


def bpe_bytes(rng):
    size = 256 + rng.randint(0, 40)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        rng,
    )
    model["ignore_merges"] = rng.random() < 0.2
    if rng.random() < 0.3:
        # Merges as texts, as older files have them.
        model["merges"] = [" ".join(pair) for pair in model["merges"]]
    if rng.random() < 0.1:
        model["continuing_subword_prefix"] = model["end_of_word_suffix"] = ""
    cut = rng.choice(
        [
            byte_level(rng, True),
            {"type": "Sequence", "pretokenizers": [split(rng), byte_level(rng, False)]},
            {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": QWEN}, "behavior": "Isolated", "invert": False}, byte_level(rng, False)]},
            {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": rng.random() < 0.5}, byte_level(rng, True)]},
            {"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Isolated"}, byte_level(rng, True)]},
        ]
    )
    return model, normalizer(rng), cut, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def bpe_pieces(rng):
    base = trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=rng.randint(60, 140), show_progress=False),
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        rng,
    )
    pieces = ["<unk>", "<s>", "</s>"]
    if rng.random() < 0.85:
        pieces += [f"<0x{b:02X}>" for b in range(256)]
    pieces += [piece for piece, _ in sorted(base["vocab"].items(), key=lambda item: item[1])]
    base["vocab"] = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    base["unk_token"] = rng.choice(["<unk>", "<unk>", None])
    base["fuse_unk"] = rng.random() < 0.8
    base["byte_fallback"] = rng.random() < 0.85
    base["ignore_merges"] = rng.random() < 0.2
    if rng.random() < 0.5:
        norm = {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
        }
        cut = None
    else:
        norm, cut = normalizer(rng), metaspace(rng)
    parts = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if rng.random() < 0.8:
        parts.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    decoder = rng.choice([{"type": "Sequence", "decoders": parts}] * 3 + [metaspace(rng)])
    return base, norm, cut, decoder


def unigram(rng):
    words = sorted(set("▁" + w[:k] for w in WORDS for k in (1, 2, 3, 9)) | set("".join(WORDS)) | {"▁"})
    vocab = [["<unk>", 0.0]] + [[w, -round(rng.uniform(1, 12), 3)] for w in words if rng.random() < 0.8]
    if rng.random() < 0.3:
        vocab += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
    model = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": len(vocab) > 256 and vocab[-1][0] == "<0xFF>"}
    return model, normalizer(rng), metaspace(rng), rng.choice([metaspace(rng), None])


def wordpiece(rng):
    letters = sorted(set("".join(WORDS)))
    vocab = ["[UNK]"] + letters + ["##" + c for c in letters] + [w for w in WORDS if rng.random() < 0.6]
    vocab = list(dict.fromkeys(vocab))
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": rng.choice([100, 6]),
        "vocab": {w: i for i, w in enumerate(vocab)},
    }
    cut = rng.choice(
        [
            {"type": "BertPreTokenizer"},
            {"type": "Whitespace"},
            {"type": "WhitespaceSplit"},
            {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Removed"}]},
            {"type": "UnicodeScripts"},
            {"type": "CharDelimiterSplit", "delimiter": " "},
        ]
    )
    return model, normalizer(rng), cut, {"type": "WordPiece", "prefix": "##", "cleanup": rng.random() < 0.5}


def wordlevel(rng):
    vocab = list(dict.fromkeys(["[UNK]"] + WORDS))
    model = {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(vocab)}, "unk_token": "[UNK]"}
    return model, normalizer(rng), rng.choice([{"type": "Whitespace"}, {"type": "WhitespaceSplit"}]), None


def flags(rng, content, special=None):
    special = rng.random() < 0.6 if special is None else special
    return {
        "content": content,
        "single_word": rng.random() < 0.2,
        "lstrip": rng.random() < 0.25,
        "rstrip": rng.random() < 0.25,
        "normalized": (not special) if rng.random() < 0.7 else rng.random() < 0.5,
        "special": special,
    }


def post_processor(rng, ids):
    first = [c for c in ids if rng.random() < 0.5][:1]
    last = [c for c in ids if rng.random() < 0.3][:1]
    piece = lambda c: {"SpecialToken": {"id": c, "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [piece(c) for c in first] + [{"Sequence": {"id": "A", "type_id": 0}}] + [piece(c) for c in last],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {c: {"id": c, "ids": [ids[c]], "tokens": [c]} for c in set(first + last)},
    }
    return rng.choice(
        [
            None,
            template,
            template,
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template]},
        ]
    )


def named(rng, content):
    """A special token as files write it."""
    if rng.random() < 0.6:
        return content
    token = flags(rng, content, True)
    return {"__type": "AddedToken", **token}


def folder(rng):
    """The files of one tokenizer."""
    make = rng.choice([bpe_bytes] * 5 + [bpe_pieces] * 4 + [unigram, unigram, wordpiece, wordlevel])
    model, norm, cut, decoder = make(rng)
    vocab = model["vocab"]
    size = len(vocab)
    known = {w: i for i, (w, _) in enumerate(vocab)} if model["type"] == "Unigram" else vocab
    added = []
    for content in rng.sample(MARKS, rng.randint(0, 5)):
        identity = known.get(content, size + sum(1 for t in added if t["id"] >= size))
        added.append({"id": identity, **flags(rng, content)})
    added.sort(key=lambda token: token["id"])
    ids = {t["content"]: t["id"] for t in added}
    padding = None
    if rng.random() < 0.1:
        padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": rng.choice(MARKS)}
    truncation = None
    if rng.random() < 0.1:
        truncation = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
    files = {
        "tokenizer.json": {
            "version": "1.0",
            "truncation": truncation,
            "padding": padding,
            "added_tokens": added,
            "normalizer": norm,
            "pre_tokenizer": cut,
            "post_processor": post_processor(rng, ids),
            "decoder": decoder,
            "model": model,
        }
    }
    sure = lambda p: rng.random() < p
    marks = MARKS + ["<new>", "<|tool|>", "a b"]
    config = {}
    if sure(0.85):
        for key in ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]:
            if sure(0.45):
                config[key] = named(rng, rng.choice(marks)) if sure(0.9) else None
        if sure(0.5):
            config["added_tokens_decoder"] = {}
            for token in added:
                if sure(0.8):
                    token = dict(token) if sure(0.6) else {"id": token["id"], **flags(rng, token["content"])}
                    config["added_tokens_decoder"][str(token.pop("id"))] = token
            end = size + len(added)
            for content in rng.sample(marks, rng.randint(0, 3)):
                if content not in ids:
                    config["added_tokens_decoder"][str(end)] = flags(rng, content)
                    end += 1
        if sure(0.25):
            config["additional_special_tokens"] = [named(rng, c) for c in rng.sample(marks, rng.randint(0, 3))]
        if sure(0.25):
            if sure(0.6):
                config["extra_special_tokens"] = [named(rng, c) for c in rng.sample(marks, rng.randint(0, 3))]
            else:
                config["extra_special_tokens"] = {f"{n}_token": c for n, c in zip(["image", "audio"], rng.sample(marks, 2))}
        if sure(0.1):
            config["boi_token"] = rng.choice(marks)
        for key, p in [("add_bos_token", 0.2), ("add_eos_token", 0.2), ("add_prefix_space", 0.2), ("legacy", 0.2), ("clean_up_tokenization_spaces", 0.4), ("split_special_tokens", 0.1), ("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", 0.1)]:
            if sure(p):
                config[key] = sure(0.5)
        if sure(0.3):
            config["model_max_length"] = rng.choice([5, 512, 10**30])
        if sure(0.7):
            names = ["PreTrainedTokenizerFast"] * 3 + ["TokenizersBackend", "PreTrainedTokenizer", "OwnTokenizer"]
            if make is bpe_bytes:
                names += ["GPT2Tokenizer", "GPT2TokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast", "LlamaTokenizerFast"]
            elif make is bpe_pieces:
                names += ["LlamaTokenizer"] * 3 + ["LlamaTokenizerFast"] * 3
            config["tokenizer_class"] = rng.choice(names)
        files["tokenizer_config.json"] = config
    if sure(0.3):
        maps = {}
        for key in ["bos_token", "eos_token", "pad_token", "unk_token"]:
            if sure(0.5):
                content = rng.choice(marks)
                maps[key] = content if sure(0.5) else {k: v for k, v in flags(rng, content, True).items() if k != "special"}
        if sure(0.3):
            maps["additional_special_tokens"] = rng.sample(marks, 2)
        if sure(0.2):
            maps["extra_special_tokens"] = [c if sure(0.5) else {k: v for k, v in flags(rng, c, True).items() if k != "special"} for c in rng.sample(marks, 2)]
        files["special_tokens_map.json"] = maps
    if sure(0.2):
        files["added_tokens.json"] = {c: size + len(added) + i for i, c in enumerate(rng.sample(marks, rng.randint(1, 3)))}
    types = ["llama"] * 4 + ["mistral"] + (["qwen2"] if make is bpe_bytes else [])
    files["config.json"] = {"model_type": rng.choice(types), "vocab_size": 4096, "hidden_size": 64, "num_attention_heads": 2, "head_dim": 32}
    if "tokenizer_class" not in config and sure(0.1):
        files["config.json"]["tokenizer_class"] = "PreTrainedTokenizerFast"
    return {name: json.dumps(content, ensure_ascii=rng.random() < 0.5) for name, content in files.items()}, marks


def reference(files, texts, rng):
    place = tempfile.mkdtemp()
    try:
        for name, content in files.items():
            with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                file.write(content)
        tok = AutoTokenizer.from_pretrained(place)
        out = []
        for one in texts:
            plain = tok.encode(one, add_special_tokens=False)
            out.append({"ids": tok.encode(one), "plain": plain})
        top = max(tok.get_vocab().values())
        decoded = []
        for ids in [row["ids"] for row in out] + [[rng.randint(0, top) for _ in range(12)] for _ in range(3)]:
            decoded.append(
                {
                    "ids": ids,
                    "whole": tok.decode(ids),
                    "skipped": tok.decode(ids, skip_special_tokens=True),
                }
            )
        return {
            "encoded": out,
            "decoded": decoded,
            "bos": tok.bos_token_id,
            "eos": tok.eos_token_id,
            "pad": tok.pad_token_id,
            "size": top + 1,
        }
    finally:
        shutil.rmtree(place)


def cases(rng, count):
    done = 0
    while done < count:
        files, marks = folder(rng)
        texts = [text(rng, marks) for _ in range(5)]
        try:
            expect = reference(files, texts, rng)
        except BaseException as error:
            # Panics of the tokenizers crate are no Exception.
            if isinstance(error, KeyboardInterrupt):
                raise
            continue
        done += 1
        yield {"files": files, "input": texts, "expect": expect}
