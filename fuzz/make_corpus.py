#!/usr/bin/env python3
"""The seeds of fuzz/corpus: one or two small valid files of each format.

    python make_corpus.py CORPUS        needs numpy, gguf
"""
import json, os, struct, sys
import numpy as np, gguf


def put(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, name), "wb").write(data if isinstance(data, bytes) else data.encode())


def safetensors(tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = dict(dtype=dtype, shape=shape, data_offsets=[len(data), len(data) + len(raw)]); data += raw
    text = json.dumps(header).encode(); text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def tokenizer():
    letters = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ"]
    vocab = {t: i for i, t in enumerate(["<s>", "</s>"] + letters + ["th", "the", "Ġp"])}
    return vocab, [["t", "h"], ["th", "e"], ["Ġ", "p"]]


def main(out):
    p = lambda *a: os.path.join(out, *a)
    f4, rng = lambda *s: rng.standard_normal(s).astype("<f4").tobytes(), np.random.default_rng(1)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj."
    put(p("safetensors"), "adapter", safetensors({prefix + "lora_A.weight": ("F32", [2, 8], f4(2, 8)), prefix + "lora_B.weight": ("F32", [8, 2], f4(8, 2))}))
    state = json.dumps(dict(quant_type="nf4", blocksize=64, dtype="bfloat16", shape=[8, 16], nested_blocksize=256, nested_dtype="float32", nested_offset=0.5)).encode()
    code = np.array([-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
                     0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1], "<f4")
    put(p("safetensors"), "nf4", safetensors({"w.weight": ("U8", [64, 1], bytes(64)), "w.weight.absmax": ("U8", [2], bytes(2)), "w.weight.quant_map": ("F32", [16], code.tobytes()),
        "w.weight.nested_absmax": ("F32", [1], f4(1)), "w.weight.nested_quant_map": ("F32", [256], f4(256)), "w.weight.quant_state.bitsandbytes__nf4": ("U8", [len(state)], state)}))
    put(p("safetensors"), "halves", safetensors({"a": ("F16", [3], bytes(6)), "b": ("BF16", [2, 2], bytes(8)), "c": ("I64", [], bytes(8))}))
    vocab, merges = tokenizer()
    for name, quantized in [("f32", False), ("blocks", True)]:
        path = p("gguf", name); os.makedirs(p("gguf"), exist_ok=True)
        w = gguf.GGUFWriter(path, "llama")
        w.add_context_length(64); w.add_embedding_length(32); w.add_block_count(1); w.add_feed_forward_length(32); w.add_head_count(2); w.add_head_count_kv(1)
        w.add_layer_norm_rms_eps(1e-5); w.add_rope_dimension_count(16); w.add_rope_freq_base(10000.0)
        w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre("smollm"); w.add_token_list(list(vocab)); w.add_token_types([3, 3] + [1] * (len(vocab) - 2))
        w.add_token_merges([" ".join(m) for m in merges]); w.add_bos_token_id(0); w.add_eos_token_id(1); w.add_add_bos_token(True); w.add_chat_template("{{ messages }}")
        def t(n, *shape):
            x = rng.standard_normal(shape).astype(np.float32)
            if quantized and len(shape) == 2: w.add_tensor(n, gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q4_0), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
            else: w.add_tensor(n, x)
        t("token_embd.weight", 8, 32); t("output_norm.weight", 32)
        for n, rows in [("attn_q", 32), ("attn_k", 16), ("attn_v", 16), ("attn_output", 32), ("ffn_gate", 32), ("ffn_up", 32), ("ffn_down", 32)]: t(f"blk.0.{n}.weight", rows, 32)
        t("blk.0.attn_norm.weight", 32); t("blk.0.ffn_norm.weight", 32)
        w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    w = gguf.GGUFWriter(p("gguf", "sentencepiece"), "llama")
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["▁t", "he", "▁the", "in", "▁"] + [chr(c) for c in range(97, 123)]
    w.add_tokenizer_model("llama"); w.add_token_list(pieces); w.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(pieces) - 259)])
    w.add_token_types([2, 3, 3] + [6] * 256 + [1] * (len(pieces) - 259)); w.add_bos_token_id(1); w.add_eos_token_id(2)
    w.add_tensor("token_embd.weight", rng.standard_normal((4, 8)).astype(np.float32))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    adapter = dict(peft_type="LORA", task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.05, bias="none", fan_in_fan_out=False, inference_mode=True, modules_to_save=None,
                   target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 4, "layers.1.mlp.down_proj": 2}, alpha_pattern={"^model.layers.0": 3.5}, layers_to_transform=[0, 1],
                   use_rslora=False, use_dora=True, init_lora_weights=True, base_model_name_or_path="m")
    put(p("adapter_config"), "patterns", json.dumps(adapter, indent=1))
    put(p("adapter_config"), "all", json.dumps(dict(peft_type="LORA", r=1, lora_alpha=1.5, target_modules="all-linear")))
    config = dict(architectures=["LlamaForCausalLM"], hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, vocab_size=128, rms_norm_eps=1e-5,
                  hidden_act="silu", max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=1, eos_token_id=[2, 3], pad_token_id=-1, torch_dtype="bfloat16",
                  rope_parameters=dict(rope_type="llama3", rope_theta=5e5, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192),
                  quantization_config=dict(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True))
    put(p("config"), "llama", json.dumps(config, indent=1))
    put(p("config"), "qwen2", json.dumps(dict(config, architectures=["Qwen2ForCausalLM"], use_sliding_window=True, sliding_window=32, rope_parameters=None, rope_theta=1e6)))
    level = lambda r: dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=r)
    special = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i, t in enumerate(["<s>", "</s>"])]
    split = dict(type="Split", pattern=dict(Regex=r"\p{N}{1,3}| ?[^\s\p{N}]+|\s+(?!\S)|\s+"), behavior="Isolated", invert=False)
    first = dict(type="TemplateProcessing", single=[dict(SpecialToken=dict(id="<s>", type_id=0)), dict(Sequence=dict(id="A", type_id=0))], pair=[dict(Sequence=dict(id="A", type_id=0))],
                 special_tokens={"<s>": dict(id="<s>", ids=[0], tokens=["<s>"])})
    put(p("tokenizer"), "bpe", json.dumps(dict(version="1.0", truncation=None, padding=None, added_tokens=special, normalizer=dict(type="NFC"),
        pre_tokenizer=dict(type="Sequence", pretokenizers=[split, level(False)]), post_processor=first, decoder=level(True),
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False, byte_fallback=False, vocab=vocab, merges=merges))))
    chat = "{% for m in messages %}{{ m['role'] | upper }}: {{ m.content.strip() }}\n{% endfor %}"
    put(p("tokenizer"), "config", json.dumps(dict(bos_token=dict(content="<s>", lstrip=False), eos_token="</s>", pad_token=None,
        chat_template=[dict(name="default", template=chat), dict(name="rag", template="")])))
    put(p("jsonl"), "rows", '{"prompt": "a\\u00e9", "completion": "1.00"}\n\n{"text": "b", "n": [1, {"x": null}]}\r\n')
    put(p("jsonl"), "array", '[{"text": "a"}, {"text": "b"}]')
    put(p("csv"), "quoted", 'title,price\n"a ""b"", c",1.50\nplain,2\n"two\nlines",3\r\n')
    put(p("csv"), "tabs", "\ufefftext\tn\nx\t1\n")
    data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/fixtures/data")
    for name, source in [("plain", "rows.none"), ("zstd", "rows.zstd"), ("gzip", "rows.gzip"), ("dictionaries", "rows"), ("chats", "chats")]:
        put(p("parquet"), name, open(os.path.join(data, source + ".parquet"), "rb").read())


main(*sys.argv[1:])
