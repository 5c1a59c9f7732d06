"""Rows of every kind, through several tokenizers and chat templates: ids and targets as TRL's SFTTrainer makes them.

Rows go through `SFTTrainer._prepare_dataset` itself. Where a template has no `{% generation %}` marks TRL makes no targets,
and the reference is this: a turn begins at the first token that the conversation before it, asked to go on, has otherwise
than the whole, and ends where a twin of the template, with marks, ends it (behind the end token, before the white space that
follows one). Tokenizers that put EOS behind texts end a row in one EOS, not in TRL's two.
"""

import json
import types

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as quiet
from trl.data_utils import common_prefix_length
from trl.trainer.sft_trainer import SFTTrainer

quiet.set_verbosity_error()

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]"]
WORDS = ["a", "the", "Ulm", "is", "it", "warm", "21", "7", "3.5", "no", "yes", "hi", "é", "ß", "猫", "🙂", "ab", "abc", "the the", "..."]


# Tokenizers

def byte_level(rng, merges):
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    pairs = []
    texts = [" the", "the", "th", " a", "ab", "abc", "\n\n", " is", "21", ": ", " U", "::", "<|", ">\n", " i", "er"]
    word = {" ": "Ġ", "\n": "Ċ"}
    for text in rng.sample(texts, len(texts) if merges else 0):
        parts = [word.get(c, c) for c in text]
        while len(parts) > 1:
            pair, parts = (parts[0], parts[1]), [parts[0] + parts[1], *parts[2:]]
            if pair not in pairs:
                pairs.append(pair)
                vocab.setdefault(pair[0] + pair[1], len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    split = rng.random() < 0.5
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=rng.random() < 0.15, use_regex=split)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, processors.ByteLevel(trim_offsets=rng.random() < 0.5)


def sentence_piece(rng):
    vocab = {"<unk>": 0, **{f"<0x{i:02X}>": i + 1 for i in range(256)}}
    for c in "▁abcdefghijklmnopqrstuvwxyzU0123456789.:\n":
        vocab.setdefault(c, len(vocab))
    pairs = []
    for text in ["▁the", "▁a", "▁is", "▁▁", "ab", "it", "21", "▁U", "th"]:
        parts = list(text)
        while len(parts) > 1:
            pair, parts = (parts[0], parts[1]), [parts[0] + parts[1], *parts[2:]]
            if pair not in pairs:
                pairs.append(pair)
                vocab.setdefault(pair[0] + pair[1], len(vocab))
    model = models.BPE(vocab=vocab, merges=pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    if rng.random() < 0.5:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        scheme = rng.choice(["first", "always", "never"])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=rng.random() < 0.5)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer, None


def make_tokenizer(rng):
    """Files of a tokenizer, and how it treats ends."""
    kind = rng.choice(["bytes", "merges", "merges", "sentencepiece"])
    tokenizer, post = sentence_piece(rng) if kind == "sentencepiece" else byte_level(rng, kind == "merges")
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    ends = rng.choice(["none", "bos", "bos", "both", "eos"])
    around = {"none": "$A", "bos": "<s> $A", "both": "<s> $A </s>", "eos": "$A </s>"}[ends]
    ids = [(t, tokenizer.token_to_id(t)) for t in ("<s>", "</s>")]
    template = processors.TemplateProcessing(single=around, pair=around + " $B", special_tokens=ids)
    processor = [p for p in (post, template if ends != "none" else None) if p is not None]
    if processor:
        tokenizer.post_processor = processor[0] if len(processor) == 1 else processors.Sequence(processor)
    has_eos = ends in ("both", "eos") or rng.random() < 0.9
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": rng.choice(["</s>", "</s>", "<|im_end|>"]) if ends in ("none", "bos") else "</s>",
        "clean_up_tokenization_spaces": False,
    }
    if not has_eos:
        del config["eos_token"]
    return tokenizer.to_str(), config, ends


# Templates. Turns stand between ⟦ and ⟧: nothing, or marks.

CALLS = """{%- for c in m.tool_calls %}{{- '\\n<tool_call>\\n{"name": "' ~ c.function.name ~ '", "arguments": ' ~ (c.function.arguments | tojson) ~ '}\\n</tool_call>' }}{%- endfor %}"""
TOOLS = """{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for t in tools %}{{- (t | tojson) ~ '\\n' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}"""

TEMPLATES = {
    "chatml": TOOLS + """{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}⟦{{- m.content }}{%- if m.tool_calls %}""" + CALLS + """{%- endif %}{{- '<|im_end|>' }}⟧{{- '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if thinking is defined and not thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}""",
    # The call begins with the line end that the question ends in.
    "qwen": TOOLS + """{%- for m in messages %}
    {%- if m.role == 'assistant' and m.tool_calls %}
        {{- '<|im_start|>assistant' }}{%- if m.content %}{{- '\\n' }}{%- endif %}⟦{{- m.content }}""" + CALLS + """{{- '<|im_end|>' }}⟧{{- '\\n' }}
    {%- elif m.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}⟦{{- m.content + '<|im_end|>' }}⟧{{- '\\n' }}
    {%- elif m.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}""",
    "instruct": """{{- bos_token }}{%- for m in messages %}
    {%- if m.role == 'assistant' %}{{- ' ' }}⟦{{- m.content | trim }}""" + CALLS + """{{- eos_token or '<|im_end|>' }}⟧
    {%- else %}{{- '[INST] ' + m.content + ' [/INST]' }}{%- endif %}
{%- endfor %}""",
    "plain": """{%- for m in messages %}
    {%- if m.role == 'assistant' %}{{- 'Assistant: ' }}⟦{{- m.content ~ '</s>' }}⟧{{- '\\n' }}{%- else %}{{- m.role ~ ': ' ~ m.content ~ '\\n' }}{%- endif %}
{%- endfor %}{%- if add_generation_prompt %}{{- 'Assistant: ' }}{%- endif %}""",
    # Nothing ends a turn but the line.
    "line": """{%- for m in messages %}
    {%- if m.role == 'assistant' and m.content | trim %}{{- '### A:\\n' }}⟦{{- m.content ~ '\\n' }}⟧{%- elif m.role == 'assistant' %}{{- '### A:\\n' ~ m.content ~ '\\n' }}{%- else %}{{- '### ' ~ m.role ~ ':\\n' ~ m.content ~ '\\n' }}{%- endif %}
{%- endfor %}{%- if add_generation_prompt %}{{- '### A:\\n' }}{%- endif %}""",
    # The question opens a thought that the conversation does not have.
    "think": """{{- bos_token }}{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '[INST]' }}⟦{{- m.content.split('</think>')[-1] }}{{- '<|im_end|>' }}⟧{%- else %}{{- '<|im_start|>' ~ m.content }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '[INST]<think>\\n' }}{%- endif %}""",
    # The last turn has a thought, those before it lose theirs.
    "last": """{%- for m in messages %}
    {%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}⟦{%- if loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{{- m.content + '<|im_end|>' }}⟧{{- '\\n' }}
    {%- else %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}""",
    # The last turn ends in another token.
    "return": """{%- for m in messages %}
    {%- if m.role == 'assistant' %}{{- '<|im_start|>assistant:' }}⟦{{- m.content }}{%- if loop.last and not add_generation_prompt %}{{- '</s>' }}{%- else %}{{- '<|im_end|>' }}{%- endif %}⟧
    {%- else %}{{- '<|im_start|>' + m.role + ':' + m.content + '<|im_end|>' }}{%- endif %}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant:' }}{%- endif %}""",
    # Asks for the next words at every end.
    "always": """{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '[INST]assistant[/INST]\\n\\n' }}⟦{{- m.content | trim + '<|im_end|>' }}⟧{%- else %}{{- '[INST]' + m.role + '[/INST]\\n\\n' + m.content | trim + '<|im_end|>' }}{%- endif %}{%- endfor %}{{- '[INST]assistant[/INST]\\n\\n' }}""",
    # Reads documents and variables.
    "documents": """{%- if documents %}{%- for d in documents %}{{- '[INST]' ~ d.title ~ ': ' ~ d.text }}{%- endfor %}{%- endif %}{{- style | default('') }}{%- for m in messages %}{%- if m.role == 'assistant' %}{{- '<|im_start|>A ' }}⟦{{- m.content }}{{- '<|im_end|>' }}⟧{{- '\\n\\n' }}{%- else %}{{- '<|im_start|>' ~ m.role ~ ' ' ~ m.content ~ '<|im_end|>\\n\\n' }}{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>A ' }}{%- endif %}""",
}
WITH_TOOLS = {"chatml", "qwen"}


def twin(template, marks):
    for mark, tag in (("⟦", "{%- generation %}"), ("⟧", "{%- endgeneration %}")):
        template = template.replace(mark, tag if marks else "")
    return template


# Rows

def text(rng, most=5):
    words = [rng.choice(WORDS) for _ in range(rng.randint(0, most))]
    joined = rng.choice([" ", " ", "", "\n"]).join(words)
    return rng.choice(["", "", "", "", " ", "\n"]) + joined + rng.choice(["", "", "", "", " ", "\n", ":", "  "])


def arguments(rng):
    items = [("unit", "C"), ("city", rng.choice(["Ulm", "Bonn é"])), ("days", rng.randint(1, 9)), ("exact", True), ("in", {"z": 1, "a": [1, 2]})]
    return dict(rng.sample(items, rng.randint(0, 3)))


def calls(rng):
    one = lambda: {"type": "function", "function": {"name": rng.choice(["look_up", "add"]), "arguments": arguments(rng)}}
    return [one() for _ in range(rng.randint(1, 2))]


def tools(rng):
    parameters = {"type": "object", "properties": {"unit": {"type": "string"}, "city": {"type": "string"}}, "required": ["city"]}
    return [{"type": "function", "function": {"name": "look_up", "description": "Weather é", "parameters": parameters}}]


def conversation(rng, with_tools, words=None):
    words = words or (lambda: text(rng))
    messages = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": words()})
    for _ in range(rng.choice([1, 1, 2, 3])):
        messages.append({"role": "user", "content": words()})
        if with_tools and rng.random() < 0.5:
            messages.append({"role": "assistant", "content": rng.choice(["", words()]), "tool_calls": calls(rng)})
            if rng.random() < 0.8:
                messages += [{"role": "tool", "name": "look_up", "content": words()} for _ in range(rng.randint(1, 2))]
            else:
                continue
        messages.append({"role": "assistant", "content": rng.choice([words, words, words, lambda: ""])()})
    return messages


def sharegpt(rng, messages):
    """The same in ShareGPT's words."""
    out = []
    for m in messages:
        if m.get("tool_calls"):
            said = [c["function"] for c in m["tool_calls"]]
            said = said[0] if len(said) == 1 and rng.random() < 0.7 else said
            out.append({"from": "function_call", "value": json.dumps(said, ensure_ascii=False)})
            continue
        names = {"user": "human", "assistant": rng.choice(["gpt", "gpt", "assistant"]), "system": "system", "tool": rng.choice(["observation", "tool"])}
        out.append({"from": names[m["role"]], "value": m["content"]})
    return out


def row(rng, template, has_eos):
    """A row as it stands in the file, and as TRL is given it; of a conversation the messages that do not count."""
    with_tools = template in WITH_TOOLS
    kinds = ["messages"] * 4 + ["weights", "sharegpt", "sharegpt", "alpaca chat", "chat pair", "chat pair"]
    if has_eos:
        kinds += ["text", "pair", "pair", "pair", "alpaca"]
    kind = rng.choice(kinds)
    if kind == "text":
        made = {"text": text(rng, 8) + rng.choice(["", "", "", "</s>", "<|im_end|>"])}
        return {**made, "id": rng.randint(0, 9)}, made, ()
    if kind == "pair":
        prompt = rng.choice(["", "", "", "", "<s>"]) + text(rng) + rng.choice(["", "", "th", "a", "</s>"])
        made = {"prompt": prompt, "completion": rng.choice(["", "e", "b", ":"]) + text(rng) + rng.choice(["", "", "", "</s>", "<|im_end|>"])}
        return made, made, ()
    if kind == "alpaca":
        asked, given, answer = text(rng), rng.choice(["", text(rng)]), text(rng)
        head = f"### Instruction:\n{asked}\n\n" + (f"### Input:\n{given}\n\n" if given.strip() else "") + "### Response:\n"
        written = {"instruction": asked, "input": given, rng.choice(["output", "response"]): answer}
        if rng.random() < 0.5:
            written |= {"system": "", "history": []}
        return written, {"prompt": head, "completion": answer}, ()
    if kind == "alpaca chat":
        asked, given = text(rng) or "q", rng.choice(["", text(rng)])
        history = [[text(rng), text(rng)] for _ in range(rng.randint(0, 2))]
        system = text(rng) if history else "S"
        messages = [{"role": "system", "content": system}] if system else []
        for question, answer in history:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        answer = text(rng)
        messages += [{"role": "user", "content": "\n".join(t for t in (asked, given) if t)}, {"role": "assistant", "content": answer}]
        written = {"instruction": asked, "input": given, "output": answer, "system": system, "history": history}
        return written, {"messages": messages}, ()
    messages = conversation(rng, with_tools)
    beside = {}
    if with_tools and rng.random() < 0.5:
        beside["tools"] = tools(rng)
    if kind in ("messages", "chat pair") and rng.random() < 0.3:
        variables = {"documents": {"documents": [{"title": "T", "text": "é"}], "style": "S"}, "chatml": {"thinking": rng.random() < 0.5}}
        beside["chat_template_kwargs"] = variables.get(template, {"unused": 1})
    spelled = dict(beside)
    if "tools" in beside and rng.random() < 0.5:
        spelled["tools"] = json.dumps(beside["tools"], ensure_ascii=False)
    if kind == "chat pair":
        at = rng.randint(1, len(messages) - 1)
        while messages[at - 1]["role"] == "assistant" or messages[at - 1]["role"] == "system":
            at = at - 1 if at > 1 else next(i for i in range(1, len(messages)) if messages[i]["role"] == "assistant")
        made = {"prompt": messages[:at], "completion": messages[at:], **beside}
        return {**made, **spelled}, made, ()
    if kind == "sharegpt":
        for m in messages:
            if m.get("tool_calls"):
                m["content"] = ""
            m.pop("name", None)
        written = {"conversations": sharegpt(rng, messages), **spelled}
        made = {"messages": messages, **beside}
        if messages[0]["role"] != "system" and rng.random() < 0.4:
            written["system"] = "Be kind."
            made["messages"] = [{"role": "system", "content": "Be kind."}, *messages]
        return written, made, ()
    muted = ()
    if kind == "weights":
        said = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        muted = tuple(i for i in said if rng.random() < 0.4)
        muted = muted[:-1] if len(muted) == len(said) else muted
        for i in said:
            if i in muted or rng.random() < 0.5:
                messages[i]["weight"] = 0 if i in muted else 1
    made = {"messages": messages, **beside}
    written = {**made, **spelled}
    if rng.random() < 0.3:
        nulls = [{"tool_calls": None, **m} if "tool_calls" not in m else m for m in messages]
        written["messages"] = nulls
    if rng.random() < 0.15:
        written["documents"] = [{"title": "not read", "text": "by TRL"}]
    return written, made, muted


# What TRL makes of it

class Rows(list):
    """As much of a dataset as TRL's preparation uses, with every row's own keys in their own order."""

    def __init__(self, rows):
        super().__init__(rows)
        self.column_names = list(rows[0]) if rows else []
        self.format = {"type": None}

    def map(self, function, fn_kwargs=None, remove_columns=None, **_):
        gone = [remove_columns] if isinstance(remove_columns, str) else remove_columns or []
        made = ({**row, **function(json.loads(json.dumps(row)), **(fn_kwargs or {}))} for row in self)
        return Rows([{k: v for k, v in row.items() if k not in gone} for row in made])

    def filter(self, function, **_):
        return Rows([row for row in self if function(row)])


def prepare(tokenizer, row, completion_only, assistant_only, max_length):
    trainer = types.SimpleNamespace(_tokenizer=tokenizer, chat_template=None, completion_only_loss=completion_only)
    args = types.SimpleNamespace(
        dataset_num_proc=None, dataset_text_field="text", assistant_only_loss=assistant_only, max_length=max_length,
        truncation_mode="keep_start", shuffle_dataset=False,
    )
    done = SFTTrainer._prepare_dataset(trainer, Rows([row]), tokenizer, args, False, None, "train")
    return (done[0]["input_ids"], done[0]["labels"]) if len(done) else None


def turns(tokenizer, marked, row, wanted, ids):
    """Whether each token is written for one of the wanted messages of the assistant."""
    beside = {"tools": row.get("tools"), **row.get("chat_template_kwargs", {})}
    ask = lambda messages, **more: tokenizer.apply_chat_template(messages, return_dict=True, **beside, **more)
    messages = row["messages"]
    mask = [False] * len(ids)
    for i, message in enumerate(messages):
        if message["role"] != "assistant" or not wanted(i):
            continue
        before = ask(messages[:i], add_generation_prompt=True)["input_ids"]
        begin = common_prefix_length(before, ids)
        spans = marks_of(tokenizer, marked, messages, beside)
        said = [m["role"] == "assistant" and not (marked == LINE and not m["content"].strip()) for m in messages]
        if not said[i]:
            continue
        start, end = spans[sum(said[:i])]
        offsets = tokenizer(ask_text(tokenizer, messages, beside), add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        inside = [k for k, (a, b) in enumerate(offsets) if a < end and b > start]
        for k in range(begin, (inside[-1] + 1) if inside else begin):
            mask[k] = True
    return mask


def ask_text(tokenizer, messages, beside):
    return tokenizer.apply_chat_template(messages, tokenize=False, **beside)


LINE = twin(TEMPLATES["line"], True)


def marks_of(tokenizer, marked, messages, beside):
    from transformers.utils.chat_template_utils import render_jinja_template

    kwargs = {**tokenizer.special_tokens_map, **{k: v for k, v in beside.items() if v is not None}}
    clean = [{k: v for k, v in m.items() if v is not None} for m in messages]
    tools, documents = kwargs.pop("tools", None), kwargs.pop("documents", None)
    texts, spans = render_jinja_template([clean], tools=tools, documents=documents, chat_template=marked, return_assistant_tokens_mask=True, **kwargs)
    assert texts[0] == ask_text(tokenizer, messages, beside)
    return spans[0]


def case(rng):
    spelled, config, ends = make_tokenizer(rng)
    name = rng.choice(list(TEMPLATES))
    marks = rng.random() < 0.3
    template = twin(TEMPLATES[name], marks)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(spelled), **{k: v for k, v in config.items() if k.endswith("_token")}, clean_up_tokenization_spaces=False)
    tokenizer.chat_template = template
    loss = rng.choice(["completion"] * 5 + ["all"])
    max_length = rng.choice([4096, 4096, 4096, 40, 12])
    written, expect = [], []
    eos = tokenizer.eos_token_id
    for _ in range(rng.randint(1, 4)):
        for _ in range(20):
            try:
                line, given, muted = row(rng, name, eos is not None)
                conversational = "messages" in given
                assistant = conversational and loss == "completion"
                if assistant and marks:
                    done = prepare(tokenizer, given, False, True, None)
                else:
                    done = prepare(tokenizer, given, loss == "completion", False, None)
                ids, labels = done
                counts = [label != -100 for label in labels]
                marked = twin(TEMPLATES[name], True)
                if assistant and not marks:
                    counts = turns(tokenizer, marked, given, lambda i: i not in muted, ids)
                elif muted:
                    out = turns(tokenizer, marked, given, lambda i: i in muted, ids)
                    counts = [counted and not gone for counted, gone in zip(counts, out)]
            except (RuntimeError, StopIteration):
                continue
            break
        else:
            continue
        # One EOS where the tokenizer itself puts one behind the text. It ends the prompt, too,
        # where TRL's mask takes the first of the two for the prompt's if the completion is empty:
        # the one that is left is the completion's.
        if not conversational and isinstance(given.get("prompt", ""), str) and ends in ("both", "eos") and ids[-2:] == [eos, eos]:
            ids, counts = ids[:-1], counts[:-2] + counts[-1:]
        ids, counts = ids[:max_length], counts[:max_length]
        written.append(line)
        # Nothing predicts the first token.
        if any(counts[1:]):
            spans = []
            for k, counted in enumerate(counts):
                if counted and spans and spans[-1][1] == k:
                    spans[-1][1] = k + 1
                elif counted:
                    spans.append([k, k + 1])
            expect.append({"ids": ids, "spans": spans})
    if not expect:
        return None
    files = {"tokenizer.json": json.dumps(json.loads(spelled), ensure_ascii=False, separators=(",", ":")), "tokenizer_config.json": json.dumps(config), "chat_template.jinja": template}
    files["rows.jsonl"] = "".join(json.dumps(line, ensure_ascii=rng.random() < 0.5) + "\n" for line in written)
    return {"files": files, "input": {"loss": loss, "max_length": max_length}, "expect": {"rows": expect, "read": len(written)}}


def cases(rng, count):
    made = 0
    while made < count:
        one = case(rng)
        if one is not None:
            made += 1
            yield one
