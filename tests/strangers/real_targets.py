"""What chats of real models are trained on: the targets of ten conversations each, by the templates and tokenizers that
packages carry, and by those of a GGUF file.

    python tests/strangers/real_targets.py --out DIR [--cache DIR] [--gguf FILE]

writes DIR/chats.jsonl for `WGPU_LORA_STRANGERS=DIR cargo test --release --test strangers chats`; packages are those of
`real_templates.py`, FILE is a model with Qwen2.5's template.

Targets are made twice. A turn begins at the first token that the conversation before it, asked to go on, has otherwise than
the whole (TRL's `common_prefix_length`). It ends where a twin of the template, which writes a mark on either side of what it
writes for the assistant, ends it; where the conversation up to the turn is the beginning of the whole, it must end there, too.
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import transformers
from trl.data_utils import common_prefix_length

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from real_templates import CALL, CONVERSATIONS, RESULT, TOOL, fetched, says, user  # noqa: E402

# Conversations to train on: the same, answered where they end in a question, and two that templates
# of tools and thoughts write in ways of their own.
def answered(conversation):
    made = {key: value for key, value in conversation.items() if key != "add_generation_prompt"}
    return {**made, "messages": made["messages"] + ([says("It is fine.")] if conversation.get("add_generation_prompt") else [])}


TEXT_CALL = {**CALL, "function": {"name": "look_up", "arguments": json.dumps(CALL["function"]["arguments"])}}
TARGETS = [answered(conversation) for conversation in CONVERSATIONS[1:]] + [
    {"messages": [user("Warm?"), says(None, tool_calls=[TEXT_CALL]), RESULT, says("Yes."), user("Sure?"), says(""), user("So?"), says("Yes!\n")], "tools": [TOOL]},
]

# What to write in a template so that marks stand around the assistant's turns; ⟦ and ⟧ in a
# condition are those of its role.
BEGIN = "('⟦' if message['role'] == 'assistant' else '')"
END = "('⟧' if message['role'] == 'assistant' else '')"
LLAMA = [("'+ message['content'] | trim + '<|eot_id|>'", f"' + {BEGIN} + message['content'] | trim + '<|eot_id|>' + {END}")]
QWEN_CALLS = ("        {%- endfor %}\n        {{- '<|im_end|>\\n' }}", "        {%- endfor %}\n        {{- '<|im_end|>⟧\\n' }}")
TWINS = {
    "llama3": LLAMA,
    "llama3_1": LLAMA,
    "gemma3": [('(first_user_prefix if loop.first else "") }}', f'(first_user_prefix if loop.first else "") + {BEGIN} }}}}'), ("{{ '<end_of_turn>\n' }}", f"{{{{ '<end_of_turn>' + {END} + '\n' }}}}")],
    "qwen3": [
        ("message.role + '\\n<think>", "message.role + '\\n⟦<think>"), ("message.role + '\\n' + content }}", "message.role + '\\n⟦' + content }}"),
        ("            {%- endfor %}\n        {%- endif %}\n        {{- '<|im_end|>\\n' }}", "            {%- endfor %}\n        {%- endif %}\n        {{- '<|im_end|>⟧\\n' }}"),
    ],
    "deepseek_v3": [
        ("{{'<｜Assistant｜><｜tool▁calls▁begin｜>", "{{'<｜Assistant｜>⟦<｜tool▁calls▁begin｜>"), ("{{'\n' + '<｜tool▁call▁begin｜>'", "{{('⟦' if loop.first else '') + '\n' + '<｜tool▁call▁begin｜>'"),
        ("{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not", "{%- endfor %}{{'⟧'}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not"),
        ("{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}", "{{'<｜tool▁outputs▁end｜>⟦' + message['content'] + '<｜end▁of▁sentence｜>⟧'}}"),
        ("{{'<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}", "{{'<｜Assistant｜>⟦' + message['content'] + '<｜end▁of▁sentence｜>⟧'}}"),
    ],
    "smollm2": [("'] + '\n' + message['content'] + '<|im_end|>' + '", f"'] + '\n' + {BEGIN} + message['content'] + '<|im_end|>' + {END} + '")],
    "qwen2_5": [
        ("message.role + '\\n' + message.content + '<|im_end|>' + '\\n'", f"message.role + '\\n' + {BEGIN} + message.content + '<|im_end|>' + {END} + '\\n'"),
        # The line end behind the role is the question's: the call begins behind it.
        ("{{- '\\n' + message.content }}", "{{- '\\n⟦' + message.content }}"), ("{{- '\\n<tool_call>\\n", "{{- ('\\n⟦' if loop.first and not message.content else '\\n') + '<tool_call>\\n"), QWEN_CALLS,
    ],
}


# Classes that the program reads. Another is refused by name, and tried as a plain one beside.
READ = ["LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "Qwen2Tokenizer"]
PLAIN = "-as-plain"


def turns(tokenizer, twin, conversation):
    """Ids of a conversation and its targets."""
    messages, tools = conversation["messages"], conversation.get("tools")
    beside = {"tools": tools, **conversation.get("variables", {})}
    ask = lambda messages, **more: tokenizer.apply_chat_template(messages, tokenize=False, **beside, **more)
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = ask(messages)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    # Where the marks stand, without themselves.
    marks, clean = [], []
    for c in ask(messages, chat_template=twin):
        if c in "⟦⟧":
            marks.append((c, len(clean)))
        else:
            clean.append(c)
    assert "".join(clean) == whole, "the twin writes something else"
    assert [c for c, _ in marks] == ["⟦", "⟧"] * (len(marks) // 2), marks
    said = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    assert len(marks) == 2 * len(said), (marks, said)
    counts = [False] * len(ids)
    for i, (_, start), (_, end) in zip(said, marks[::2], marks[1::2]):
        before, after = encode(ask(messages[:i], add_generation_prompt=True)), ask(messages[: i + 1])
        asks_always = after == ask(messages[: i + 1], add_generation_prompt=True)
        if whole.startswith(after) and whole[start:end].strip() and not asks_always:
            assert len(after.rstrip()) == end, "the turn ends elsewhere"
        first = common_prefix_length(before, ids)
        inside = [k for k, (a, b) in enumerate(offsets) if a < end and b > start]
        if inside and inside[0] != first:
            print(f"  token {first} begins the turn by the rule, {inside[0]} by the mark")
        for k in range(first, inside[-1] + 1 if inside else first):
            counts[k] = True
    spans = [(k, k + 1) for k, counted in enumerate(counts) if counted]
    joined = []
    for start, end in spans:
        joined[-1:] = [[joined[-1][0], end]] if joined and joined[-1][1] == start else joined[-1:] + [[start, end]]
    return ids, joined


def tokenizers(cache, file):
    """Names, what the program opens, and transformers' tokenizer of it."""
    for name, archive in fetched(cache):
        if archive.suffix == ".gguf":
            yield name, archive, transformers.AutoTokenizer.from_pretrained(archive.parent, gguf_file=archive.name)
            continue
        yield name, archive, transformers.AutoTokenizer.from_pretrained(archive)
        config = json.loads((archive / "tokenizer_config.json").read_text(encoding="utf-8"))
        if config["tokenizer_class"] not in READ:
            plain = archive.with_name(name + PLAIN)
            shutil.copytree(archive, plain, dirs_exist_ok=True)
            (plain / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")
            yield plain.name, plain, transformers.AutoTokenizer.from_pretrained(plain)
    if file:
        yield "qwen2_5", file.resolve(), transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir(), "wgpu-lora-real-templates"))
    parser.add_argument("--gguf", type=pathlib.Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "chats.jsonl", "w", encoding="utf-8") as out:
        for name, opened, tokenizer in tokenizers(args.cache, args.gguf):
            # Where a package brings none transformers raises, too.
            twin = tokenizer.chat_template or ""
            for plain, marked in TWINS.get(name.removesuffix(PLAIN), ()):
                assert plain in twin, (name, plain)
                twin = twin.replace(plain, marked)
            made = raised = 0
            for number, conversation in enumerate(TARGETS):
                try:
                    ids, spans = turns(tokenizer, twin, conversation)
                    # Nothing predicts the first token.
                    counts = any(end > 1 for _, end in spans)
                    expect = {"rows": [{"ids": ids, "spans": spans}] if counts else []}
                    made += 1
                except AssertionError:
                    raise
                except Exception as error:
                    expect = {"error": f"{type(error).__name__}: {error}"}
                    raised += 1
                row = {key: conversation[key] for key in ("messages", "tools") if key in conversation}
                if "variables" in conversation:
                    row["chat_template_kwargs"] = conversation["variables"]
                given = {"tokenizer": str(opened), "loss": "completion", "max_length": 4096}
                line = {"id": f"chats-{name}-{number}", "files": {"rows.jsonl": json.dumps(row) + "\n"}, "input": given, "expect": expect}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(f"{name}: {made} conversations with targets, {raised} raised by the template")


if __name__ == "__main__":
    main()
