"""llama.cpp as a reference, by its C interface: ids of texts, tokens that end a generation, logits in f32.

The libraries are those of a build of llama.cpp, or of the npm package node-llama-cpp, which brings a built one:

    npm install --prefix DIR --ignore-scripts node-llama-cpp@3.22.1
    WGPU_LORA_LLAMA_CPP=DIR/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64

Its parameters are given by value; their places are those of llama.h of version 0.5.0. A file that llama.cpp refuses may end the
process, so every question is asked in a child.
"""

import ctypes
import functools
import json
import os
import pathlib
import struct
import sys

FOLDER = "WGPU_LORA_LLAMA_CPP"


class Parameters(ctypes.Structure):
    """Larger than either of llama.cpp's: passed in memory, so what follows is never looked at."""

    _fields_ = [("bytes", ctypes.c_ubyte * 512)]

    def set(self, at, kind, value):
        struct.pack_into(kind, self.bytes, at, value)


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


def folder():
    """Where the libraries are."""
    named = os.environ.get(FOLDER)
    if not named:
        raise SystemExit(f"{FOLDER} should name the folder of llama.cpp's libraries; see {__file__}")
    return pathlib.Path(named)


@functools.cache
def library():
    where = folder()
    find = lambda name: next(iter(sorted(where.glob(f"lib{name}.*so*"))))
    opened = [ctypes.CDLL(str(find(name)), mode=ctypes.RTLD_GLOBAL) for name in ("ggml-base", "ggml", "llama")]
    ggml, lib = opened[1], opened[2]
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(where).encode())
    void, char, i32 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
    for name, result, arguments in [
        ("llama_model_default_params", Parameters, []),
        ("llama_context_default_params", Parameters, []),
        ("llama_model_load_from_file", void, [char, Parameters]),
        ("llama_init_from_model", void, [void, Parameters]),
        ("llama_model_get_vocab", void, [void]),
        ("llama_vocab_n_tokens", i32, [void]),
        ("llama_vocab_bos", i32, [void]),
        ("llama_vocab_eos", i32, [void]),
        ("llama_vocab_is_eog", ctypes.c_bool, [void, i32]),
        ("llama_vocab_is_control", ctypes.c_bool, [void, i32]),
        ("llama_tokenize", i32, [void, char, i32, ctypes.POINTER(i32), i32, ctypes.c_bool, ctypes.c_bool]),
        ("llama_decode", i32, [void, Batch]),
        ("llama_batch_init", Batch, [i32, i32, i32]),
        ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [void, i32]),
        ("llama_memory_clear", None, [void, ctypes.c_bool]),
        ("llama_get_memory", void, [void]),
        ("llama_log_set", None, [void, void]),
    ]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    if not os.environ.get("WGPU_LORA_LLAMA_CPP_LOG"):
        lib.silent = ctypes.CFUNCTYPE(None, i32, char, void)(lambda *_: None)
        lib.llama_log_set(ctypes.cast(lib.silent, void), None)
        ggml_log = opened[0].ggml_log_set
        ggml_log.argtypes = [void, void]
        ggml_log(ctypes.cast(lib.silent, void), None)
    return lib


class Model:
    """An opened GGUF file."""

    def __init__(self, path, vocab_only=False, threads=2, n_ctx=512):
        self.lib = library()
        parameters = self.lib.llama_model_default_params()
        parameters.set(16, "i", 0)  # n_gpu_layers
        if vocab_only:
            parameters.set(72, "?", True)
        self.model = self.lib.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise ValueError("llama.cpp does not open it")
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.size = self.lib.llama_vocab_n_tokens(self.vocab)
        if not vocab_only:
            parameters = self.lib.llama_context_default_params()
            for at, value in [(0, n_ctx), (4, n_ctx), (8, n_ctx), (12, 1), (28, threads), (32, threads), (52, 0), (104, 0), (108, 0)]:
                # n_ctx, n_batch, n_ubatch, n_seq_max, threads twice, no flash attention, keys and
                # values in F32.
                parameters.set(at, "i", value)
            self.context = self.lib.llama_init_from_model(self.model, parameters)
            if not self.context:
                raise ValueError("llama.cpp makes no context of it")
            self.batch = self.lib.llama_batch_init(n_ctx, 0, 1)

    def encode(self, text, add_special=True):
        """Ids of a text; special tokens that are written out are recognized."""
        raw = text.encode()
        room = (ctypes.c_int32 * (len(raw) + 16))()
        n = self.lib.llama_tokenize(self.vocab, raw, len(raw), room, len(room), add_special, True)
        if n < 0:
            raise ValueError("llama.cpp's ids are too many")
        return list(room[:n])

    def ends(self):
        """Tokens that end a generation."""
        return [id for id in range(self.size) if self.lib.llama_vocab_is_eog(self.vocab, id)]

    def feed(self, ids, start=0, all=True):
        """Takes ids at positions from `start` on; logits of each, or of the last."""
        if start == 0:
            self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        self.batch.n_tokens = len(ids)
        for i, id in enumerate(ids):
            self.batch.token[i], self.batch.pos[i], self.batch.n_seq_id[i] = id, start + i, 1
            self.batch.seq_id[i][0] = 0
            self.batch.logits[i] = int(all or i + 1 == len(ids))
        if self.lib.llama_decode(self.context, self.batch):
            raise ValueError("llama.cpp does not compute it")
        at = range(len(ids)) if all else [len(ids) - 1]
        return [self.lib.llama_get_logits_ith(self.context, i)[: self.size] for i in at]


def ask(question):
    """What a function without arguments gives, in a child; nothing if llama.cpp refuses."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        null = os.open(os.devnull, os.O_WRONLY)
        if not os.environ.get("WGPU_LORA_LLAMA_CPP_LOG"):
            os.dup2(null, 1)
            os.dup2(null, 2)
        try:
            answer = json.dumps(question()).encode()
            with os.fdopen(write, "wb") as pipe:
                pipe.write(answer)
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(answer) if status == 0 and answer else None
