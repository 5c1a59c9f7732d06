"""Answers: greedy continuations with stop texts, as transformers' `generate` makes them, and ids as its tokenizer decodes them.

Two sorts of case:

    {"input": {"model": "embedded" | recipe, "prompt", "stop", "max_new_tokens"}, "expect": {"prompt", "ids", "text", "finish"}}
    {"input": {"decode": [ids, …], "prompt": ids, "skip_special"}, "expect": {"texts": […], "behind": […]}}

`text` is what decoding prompt and answer gives, without the prompt's text, up to where a stop text begins. Steps at which the two
best logits lie closer than 1e-2 are left to rounding, so an answer that has one is drawn again.
"""

import functools
import pathlib
import shutil
import tempfile

import torch
from transformers import AutoTokenizer
from transformers.generation.stopping_criteria import StopStringCriteria

from . import common

MARGIN = 1e-2
SPECIALS = ["<|im_end|>", "<|eot|>", "<é|>", "[END]"]
PROMPTS = ["A dog is", "The price of item 3 costs $", "5 + 5 =", "What is it?", "naïve café — 東京", "a\n\nb", "Rent", " x", "def add(a, b):\n", "ab  cd ", "Ü", ""]


def decoders(rng):
    """Decoders that tokenizer.json files have, and some that they could have."""
    replace = lambda a, b: {"type": "Replace", "pattern": {"String": a}, "content": b}
    sequence = lambda *all: {"type": "Sequence", "decoders": list(all)}
    fallback, fuse = {"type": "ByteFallback"}, {"type": "Fuse"}
    strip = lambda start: {"type": "Strip", "content": " ", "start": start, "stop": 0}
    return rng.choice([
        sequence(replace("▁", " "), fallback, fuse, strip(1)),
        sequence(replace("▁", " "), fallback, fuse, strip(2)),
        sequence(replace("▁", " "), fallback, fuse),
        sequence(fallback, fuse, replace("▁", " "), strip(1)),
        sequence(replace("▁", " "), fallback, fuse, replace("  ", "_")),
        sequence(replace("▁", " "), fallback, strip(1), fuse),
        sequence(fuse, fallback),
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": rng.choice(["always", "first", "never"]), "split": True},
        {"type": "BPEDecoder", "suffix": "e"},
        {"type": "CTC", "pad_token": "<s>", "word_delimiter_token": "▁", "cleanup": rng.random() < 0.5},
        None,
    ])


def tokenizer(rng):
    """A tokenizer.json, drawn from the sorts that there are."""
    specials = rng.sample(SPECIALS, rng.randint(1, 3))
    merges = rng.choice([0, 10, 60])
    sort = rng.choice(["byte_level", "byte_level", "legacy", "legacy", "always", "first", "never", "word_piece", "odd"])
    if sort == "byte_level":
        made = common.byte_level(merges=merges, specials=("<s>", "</s>", *specials))
        if rng.random() < 0.3:
            made["decoder"] = {"type": "Sequence", "decoders": [made["decoder"]]}
    elif sort == "word_piece":
        made = common.word_piece(specials=("[UNK]", "[CLS]", "[SEP]", *specials), cleanup=rng.random() < 0.5)
    else:
        style = "legacy" if sort == "odd" else sort
        made = common.sentencepiece(merges=merges, style=style, specials=specials, byte_fallback=rng.random() < 0.8)
        if sort == "odd":
            made["decoder"] = decoders(rng)
    # An added token that is no special one, and perhaps one that takes the space before it.
    size = common.vocabulary_size(made)
    if rng.random() < 0.4:
        made["added_tokens"].append(common.special(size, "<tool>", special=False, normalized=rng.random() < 0.5, lstrip=rng.random() < 0.3))
    begin, end = ("[CLS]", "[SEP]") if sort == "word_piece" else ("<s>", "</s>")
    ids = {t["content"]: t["id"] for t in made["added_tokens"]}
    put = rng.choice(["bos", "bos", "none", "both"])
    made["post_processor"] = None if put == "none" else common.template([(begin, ids[begin])], [(end, ids[end])] if put == "both" else [])
    return made, begin, end


def open_tokenizer(files):
    with tempfile.TemporaryDirectory() as folder:
        common.write_model(folder, files, None)
        return AutoTokenizer.from_pretrained(folder)


def settings(rng, made, begin, end):
    """The files beside the weights: which tokens end an answer, and where that is written."""
    ids = {t["content"]: t["id"] for t in made["added_tokens"]}
    model = common.config(rng, rng.choice(common.FAMILIES), common.vocabulary_size(made))
    ends = [ids[end]] + [id for text, id in ids.items() if text not in (begin, end) and rng.random() < 0.3]
    files = {}
    place = rng.choice(["config", "generation", "both", "none"])
    written = ends if len(ends) > 1 or rng.random() < 0.3 else ends[0]
    if place in ("config", "both"):
        model["eos_token_id"] = written if place == "config" else ids[begin]
    if place in ("generation", "both"):
        files["generation_config.json"] = common.dumps({"eos_token_id": written, "do_sample": rng.random() < 0.3, "temperature": 0.7})
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": begin, "eos_token": end}
    if rng.random() < 0.3:
        named["clean_up_tokenization_spaces"] = rng.random() < 0.5 and made["model"]["type"] == "BPE"
    files |= {"config.json": common.dumps(model), "tokenizer.json": common.dumps(made), "tokenizer_config.json": common.dumps(named)}
    # The tokenizer's end token ends an answer here, too: training appends it.
    return files, common.recipe(rng.randrange(1 << 20), common.shapes(model)), sorted({ids[end]} | (set(ends) if place != "none" else set()))


def greedy(model, ids, count, ends, tokenizer, stop):
    """New ids, and the smallest margin of the steps."""
    options = {"stop_strings": stop, "tokenizer": tokenizer} if stop else {}
    made = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False, num_beams=1,
        temperature=None, top_p=None, top_k=None, max_new_tokens=count, eos_token_id=ends, pad_token_id=ends[0],
        output_logits=True, return_dict_in_generate=True, **options,
    )
    best = torch.stack(made.logits)[:, 0].topk(2).values
    return made.sequences[0, len(ids):].tolist(), float((best[:, 0] - best[:, 1]).min())


def behind(tokenizer, prompt, ids, skip_special=True):
    """The text of an answer: of both without the prompt's."""
    before = tokenizer.decode(prompt, skip_special_tokens=skip_special)
    text = tokenizer.decode(prompt + ids, skip_special_tokens=skip_special)
    return text[len(before):] if text.startswith(before) else tokenizer.decode(ids, skip_special_tokens=skip_special)


def cleaned(tokenizer):
    """Each token's bytes, as transformers looks for stop texts in them."""
    mode = StopStringCriteria._get_stop_string_matching_mode(tokenizer)
    texts, ids = StopStringCriteria.clean_tokenizer_vocab(tokenizer, stop_string_matching_mode=mode)
    return {id: text if isinstance(text, bytes) else text.encode() for id, text in zip(ids, texts)}


def cut(tokenizer, prompt, ids, stop):
    """The text before the first stop text that ends in the last token; None without one."""
    parts = cleaned(tokenizer)
    pieces = [parts.get(id, b"") for id in prompt + ids]
    data, last = b"".join(pieces), len(b"".join(pieces[:-1]))
    found = [at for text in stop for at in range(len(data)) if data[at:].startswith(text.encode()) and at + len(text.encode()) > last]
    if not found:
        return None
    at = min(found)
    token = max(i for i in range(len(pieces)) if len(b"".join(pieces[:i])) <= at)
    byte = at - len(b"".join(pieces[:token]))
    token -= len(prompt)
    if token < 0:
        return ""
    before, rest = behind(tokenizer, prompt, ids[:token]), pieces[token + len(prompt)][byte:].decode(errors="replace")
    text = behind(tokenizer, prompt, ids[: token + 1])
    shown = tokenizer.decode([ids[token]], skip_special_tokens=True) != ""
    return text[: len(text) - len(rest)] if byte and shown and text.endswith(rest) else before


def stops(rng, tokenizer, prompt, ids):
    """Stop texts, most of them of what comes."""
    text = tokenizer.decode(prompt + ids, skip_special_tokens=False)
    start = len(tokenizer.decode(prompt, skip_special_tokens=False))
    chosen = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        sort = rng.random()
        if sort < 0.5 and len(text) > start:
            at = rng.randrange(start, len(text))
            chosen.append(text[at : at + rng.randint(1, 7)])
        elif sort < 0.65 and start > 0:
            at = rng.randrange(max(0, start - 4), start)
            chosen.append(text[at : start + rng.randint(0, 3)])
        elif sort < 0.8:
            chosen.append(tokenizer.convert_ids_to_tokens(rng.choice(ids)) if ids and rng.random() < 0.3 else rng.choice(SPECIALS))
        else:
            chosen.append(rng.choice(["\n", "END", " ", "é", "東", "Rent", "the", " a", "\ufffd", "</s>"]))
    return [text for text in chosen if text]


def embedded_files(rng):
    """The repository's model, its end tokens written in other places."""
    end = rng.choice([2046, 2046, 2047])
    files = {"generation_config.json": common.dumps({"bos_token_id": 2045, "eos_token_id": rng.choice([end, [end], [end, 2045]])})}
    name = {2046: "<|end_of_text|>", 2047: "<|pad|>"}[end]
    files["tokenizer_config.json"] = common.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": name})
    return files, end


@functools.cache
def embedded_tokenizer(config):
    with tempfile.TemporaryDirectory() as folder:
        for name in ["tokenizer.json", "config.json"]:
            shutil.copy(common.EMBEDDED / name, pathlib.Path(folder) / name)
        (pathlib.Path(folder) / "tokenizer_config.json").write_text(config)
        return AutoTokenizer.from_pretrained(folder)


def answer(rng):
    """One answer, or None if transformers refuses it or rounding decides it."""
    if rng.random() < 0.25:
        files, end = embedded_files(rng)
        recipe, model, tokenizer_ = "embedded", common.embedded(), embedded_tokenizer(files["tokenizer_config.json"])
        ends, appended = [end] + ([2045] if "2045]" in files["generation_config.json"] else []), False
    else:
        made, begin, end = tokenizer(rng)
        if made["decoder"] is None or made["decoder"]["type"] in ("CTC", "BPEDecoder"):
            return None
        files, recipe, ends = settings(rng, made, begin, end)
        with tempfile.TemporaryDirectory() as folder:
            common.write_model(folder, files, recipe)
            model, tokenizer_ = common.load(folder), AutoTokenizer.from_pretrained(folder)
        appended = made["post_processor"] is not None and len(made["post_processor"]["single"]) > 2
    text = rng.choice(PROMPTS) + rng.choice(["", "", " item", " " + rng.choice(common.words()), rng.choice(SPECIALS), "é"])
    prompt = tokenizer_(text).input_ids
    # What a tokenizer puts behind a text has no place behind a prompt.
    prompt = prompt[:-1] if appended else prompt
    if not prompt:
        return None
    count = rng.randint(1, 24)
    ids, _ = greedy(model, prompt, count, ends, None, None)
    stop = stops(rng, tokenizer_, prompt, ids)
    try:
        ids, margin = greedy(model, prompt, count, ends, tokenizer_, stop)
    except ValueError:
        return None
    if margin < MARGIN:
        return None
    before = cut(tokenizer_, prompt, ids, stop) if stop else None
    finish = "eos" if ids[-1] in ends else "stop" if before is not None else "length"
    ids = ids[:-1] if finish == "eos" else ids
    shown = behind(tokenizer_, prompt, ids) if before is None else before
    return {
        "files": files,
        "input": {"model": recipe, "prompt": text, "stop": stop, "max_new_tokens": count},
        "expect": {"prompt": prompt, "ids": ids, "text": shown, "finish": finish},
    }


def decoded(rng):
    """Random ids, all at once, one by one, and behind a prompt."""
    made, begin, end = tokenizer(rng)
    files = {"tokenizer.json": common.dumps(made), "tokenizer_config.json": common.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end})}
    tokenizer_ = open_tokenizer(files)
    size = common.vocabulary_size(made)
    byte_ids = [id for token, id in made["model"]["vocab"].items() if token.startswith("<0x")]
    prompt = tokenizer_(rng.choice(PROMPTS), add_special_tokens=rng.random() < 0.5).input_ids
    rows = []
    for _ in range(8):
        row = [rng.choice(byte_ids) if byte_ids and rng.random() < 0.4 else rng.randrange(size) for _ in range(rng.randint(1, 24))]
        if rng.random() < 0.4:
            row += tokenizer_(rng.choice(PROMPTS) + "é東" * rng.randint(0, 2), add_special_tokens=False).input_ids
        rows.append(row)
    skip = rng.random() < 0.7
    texts = [tokenizer_.decode(row, skip_special_tokens=skip) for row in rows]
    return {
        "files": files,
        "input": {"decode": rows, "prompt": prompt, "skip_special": skip},
        "expect": {"texts": texts, "behind": [behind(tokenizer_, prompt, row, skip) for row in rows]},
    }


def cases(rng, count):
    made = 0
    while made < count:
        case = decoded(rng) if made % 3 == 2 else answer(rng)
        if case is not None:
            made += 1
            yield case
