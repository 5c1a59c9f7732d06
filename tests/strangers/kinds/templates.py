"""templates: programs put together from what chat templates are made of, and conversations of all sorts.

Pieces are typed (a text, a number, a list, …), so that most programs run; what the reference refuses is left out. Every
option of a filter or method that jinja2 or Python reads is drawn. The reference is `apply_chat_template`.
"""

import datetime
import json
import pathlib
import re
import tempfile

import transformers
from transformers.utils import chat_template_utils as reference

TOKENIZER = {
    "version": "1.0",
    "added_tokens": [
        {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i, text in enumerate(["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>", "<|tool|>"])
    ],
    "normalizer": None,
    "pre_tokenizer": None,
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"},
}

WORDS = ["", " ", "a", "Hello", "hello world", " padded  text ", "line one\nline two\n\n  four", "naïve café", "日本語 text",
         "ÄÖÜ straße", "tab\there", "it's \"quoted\"", "back\\slash", "<think>why</think>answer", "<tool_call>\n{}\n</tool_call>",
         "a-b_c d", "ABC def GHI", "x,y,,z", "100%", "{braces}", "\r\nwindows\r\n", "😀 smile", "1", "-3.5", "0x1f", "&<>'\"",
         "one  two   three", "aXbXc", "\u00a0nbsp\u2028sep", "$5.00", "[1, 2]", "ok.", "trailing\\", "\x1b[0m", "Ünïcödé", "\u200bzero"]
KEYS = ["city", "unit", "items", "b", "a", "keys", "Zeta", "name", "get", "日", "x y", "count", "values", "type"]
MARKS = ["", "-"]


def scalar(rng):
    # Beyond 64 bits serde_json does not tell whole numbers from others, so that it is refused.
    if rng.random() < 0.004:
        return 1.5e300
    return rng.choice([None, True, False, 0, 1, -7, 42, 2**40, 2**63, -(2**63), 1.0, 0.1, -2.5, 1e5, 1e16, 1e-7, 1.5e-300, 3.14159, 100000.0,
                       1 / 3, 123456789.125, *rng.sample(WORDS, 6)])


def value(rng, depth=2):
    kind = rng.random()
    if depth and kind < 0.3:
        return {key: value(rng, depth - 1) for key in rng.sample(KEYS, rng.randrange(0, 5))}
    if depth and kind < 0.5:
        return [value(rng, depth - 1) for _ in range(rng.randrange(0, 4))]
    return scalar(rng)


def words(rng):
    return rng.choice(WORDS)


def tool(rng):
    names = rng.sample(KEYS, rng.randrange(1, 5))
    properties = {n: {"type": rng.choice(["string", "integer", ["string", "null"], "array", "object", "number"]),
                      "description": words(rng)} for n in names}
    for p in properties.values():
        if rng.random() < 0.3:
            p["enum"] = [words(rng) for _ in range(2)]
        if rng.random() < 0.3:
            p["items"] = {"type": "string"}
        if rng.random() < 0.3:
            p["default"] = scalar(rng)
    function = {"name": rng.choice(["look_up", "add"]), "description": words(rng),
                "parameters": {"type": "object", "properties": properties, "required": names[:1]}}
    if rng.random() < 0.2:
        function["return"] = {"type": "string", "description": words(rng)}
    return {"type": "function", "function": function} if rng.random() < 0.8 else function


def call(rng):
    arguments = {key: value(rng, 1) for key in rng.sample(KEYS, rng.randrange(0, 4))}
    if rng.random() < 0.2:
        arguments = json.dumps(arguments)
    made = {"type": "function", "function": {"name": rng.choice(["look_up", "add"]), "arguments": arguments}}
    if rng.random() < 0.4:
        made["id"] = "call_%d" % rng.randrange(99)
    return made


def content(rng):
    kind = rng.random()
    if kind < 0.7:
        return words(rng) + rng.choice(["", words(rng)])
    if kind < 0.9:
        return [rng.choice([{"type": "text", "text": words(rng)}, {"type": "image"}, {"type": "text", "text": words(rng), "x": 1}])
                for _ in range(rng.randrange(0, 3))]
    return None


def conversation(rng):
    messages = []
    if rng.random() < 0.5:
        messages.append({"role": "system", "content": words(rng)})
    for _ in range(rng.randrange(1, 4)):
        messages.append({"role": "user", "content": content(rng)})
        answer = {"role": "assistant", "content": content(rng)}
        if rng.random() < 0.2:
            answer[rng.choice(["reasoning_content", "thinking", "reasoning"])] = rng.choice([words(rng), None])
        if rng.random() < 0.4:
            answer["tool_calls"] = rng.choice([[call(rng) for _ in range(rng.randrange(0, 3))], None])
            if rng.random() < 0.3:
                answer.pop("content")
            messages.append(answer)
            if answer["tool_calls"]:
                for made in answer["tool_calls"]:
                    messages.append({"role": "tool", "name": made["function"]["name"],
                                     "content": rng.choice([words(rng), json.dumps(value(rng, 1))])})
                messages.append({"role": "assistant", "content": words(rng)})
        else:
            messages.append(answer)
    for message in messages:
        if rng.random() < 0.1:
            message["weight"] = rng.choice([0, 1])
        if rng.random() < 0.15:
            message["extra"] = value(rng)
        if rng.random() < 0.2:
            items = list(message.items())
            rng.shuffle(items)
            message.clear()
            message.update(items)
    if rng.random() < 0.3 and messages[-1]["role"] == "assistant":
        messages.pop()
    return messages


# -------------------------------------------------------------------------------------- expressions


def literal(rng):
    text = words(rng)
    form = rng.randrange(4)
    if form == 0:
        return json.dumps(text)
    quote = rng.choice("'\"")
    text = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    if form == 2:
        text = text.replace("\n", "\\n")
    if form == 3 and text and not text.endswith("\\"):
        text = text[:1] + rng.choice(["\\\n", "\\x41", "\\u00e9", "\\101", "\\q", "\\t", "\\é", "\\\\"]) + text[1:] if "\\" not in text else text
    return quote + text + quote


def number(rng, d=2):
    if d == 0 or rng.random() < 0.35:
        return rng.choice(["0", "1", "2", "3", "7", "-2", "1_000", "0x10", "loop.index0 if loop is defined else 4", "messages|length", "ns.n"])
    a, b = number(rng, d - 1), number(rng, d - 1)
    return rng.choice([f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({a} // 3)", f"({a} % 5)", f"({text(rng, d - 1)})|length",
                       f"({text(rng, d - 1)}).find({literal(rng)})", f"({text(rng, d - 1)}).count({literal(rng)})", f"({a})|abs",
                       f"({listed(rng, d - 1)})|length", f"{literal(rng)}|int", f"{literal(rng)}|int(default=-1)", f"({a} ** 2)",
                       f"[{a}, {b}]|max", f"[{a}, {b}]|sum", f"-({a})", f"({floating(rng)})|int", f"({floating(rng)})|round|int", f"{text(rng, d - 1)}|wordcount"])


def floating(rng):
    return rng.choice(["1.0", "2.5", "0.1 + 0.2", "10 / 4", "1e5", "1e16", "3.7 // 1", "-7.5 % 2", "2 ** -1", "'3.25'|float", "7 / 2", "1.5e-7",
                       "(2.675)|round(2)", "(2.5)|round", "(7.15)|round(1, 'ceil')", "(7.15)|round(1, 'floor')", "100|float", "1e3 * 2"])


def condition(rng, d=2):
    t = text(rng, max(0, d - 1))
    x = anything(rng)
    simple = rng.choice([
        f"{x} is defined", f"{x} is not none", f"{x} is string", f"{x} is mapping", f"{x} is iterable", f"{x} is sequence", f"{x} is number",
        f"{x} is boolean", f"{x} is true", f"{x} is integer", f"{x} is callable", f"{x} is undefined", f"{x} is float", f"tools is iterable and tools|length > 0",
        f"{t} == {literal(rng)}", f"{t} != {literal(rng)}", f"{literal(rng)} in {t}", f"{literal(rng)} not in {t}", f"{t} < {literal(rng)}",
        f"{number(rng, 1)} > {number(rng, 1)}", f"0 < {number(rng, 1)} <= 5", f"{t} is lower", f"{t} is upper", f"{number(rng, 1)} is odd", f"{number(rng, 1)} is divisibleby 3",
        f"{t} in [{literal(rng)}, {literal(rng)}]", f"({t}).startswith({literal(rng)})", f"({t}).endswith(({literal(rng)}, '.'))", f"({t}).isdigit()", f"({t}).isupper()",
        f"({t}).isalnum()", f"({t}).isspace()", f"({t}).isalpha()", f"({t}).istitle()", f"({t}).isidentifier()", f"({t}).isascii()", "tools", "documents", "enable_thinking", "add_generation_prompt", "not tools", "enable_thinking is defined and enable_thinking is false",
        f"{t} is eq {literal(rng)}", f"{x} is sameas none", "messages[0].role == 'system'", "messages[0]['content'] is string", "messages[-1].role is in ['user', 'tool']", f"{x}",
        f"{dicted(rng)} == {dicted(rng)}", f"{listed(rng, 1)} == {listed(rng, 1)}", "1 == 1.0 and true == 1", f"'upper' is filter", "'nope' is test", f"{x} is none or {x} is string",
    ])
    if d and rng.random() < 0.3:
        return rng.choice([f"({simple}) and {condition(rng, d - 1)}", f"({simple}) or ({condition(rng, d - 1)})", f"not ({simple})"])
    return simple


def anything(rng):
    return rng.choice(["tools", "messages", "messages[0]", "messages[0].content", "messages[-1]['content']", "messages[-1].tool_calls", "nothing", "none", "true",
                       "1", "1.5", "'x'", "[]", "{}", "(1, 2)", "documents", "bos_token", "unk_token", "enable_thinking", "extra_kwarg", "ns", "ns.nope", "messages[0].extra",
                       "messages[0].items", "range(3)", "messages[0].items()", "messages[0].keys()", "messages|map(attribute='role')", "messages[99]", "messages[0]|attr('get')", "''.join"])


def text(rng, d=3):
    if d == 0 or rng.random() < 0.25:
        return rng.choice([literal(rng), literal(rng), "bos_token", "eos_token", "ns.text", "messages[0].role", "messages[-1]['role']",
                           "(messages[0].content if messages[0].content is string else 'list')", "(messages[-1].content|string)", "pad_token", "nothing|default('none')"])
    t, u = text(rng, d - 1), text(rng, d - 1)
    n = rng.choice(["0", "1", "2", "-1", "3"])
    method = rng.choice([
        "strip()", "lstrip()", "rstrip()", f"strip({literal(rng)})", f"lstrip({literal(rng)})", "rstrip('\\n')", "upper()", "lower()", "title()", "capitalize()", "swapcase()",
        f"replace({literal(rng)}, {literal(rng)})", f"replace('l', 'L', {n})", f"removeprefix({literal(rng)})", f"removesuffix({literal(rng)})", f"zfill({number(rng, 0)})",
        "ljust(8)", "rjust(8, '*')", "center(9, '-')", "center(6)", f"split({literal(rng)})[0]" if False else "split('</think>')[-1]", "split('</think>', 1)[0]", "rsplit(' ', 1)[-1]", "partition(' ')[2]", "rpartition('X')[0]",
        "split()|join('|')", "splitlines()|join('/')", "split(maxsplit=1)|list|string", "expandtabs(4)", "splitlines(true)|string", "rsplit(None, 1)|string", "split(',')|string", "casefold()" if False else "lower()", "format(1, 2)" if False else "strip()", f"split('a', {n})|string", f"rsplit('a', {n})|string",
        "splitlines(keepends=True)[0]" if False else "strip('\\n')", "encode" if False else "upper()",
    ])
    return rng.choice([
        f"({t}).{method}", f"({t} + {u})", f"({t} ~ {u})", f"({t} ~ {number(rng, 1)} ~ {floating(rng)} ~ none ~ true ~ nothing)", f"({t})[{n}:]", f"({t})[:{n}]", f"({t})[::-1]", f"({t})[1:-1]", f"({t})[{n}:5:2]",
        f"({t})|trim", f"({t})|trim({literal(rng)})", f"({t})|upper", f"({t})|lower", f"({t})|title", f"({t})|capitalize", f"({t})|replace({literal(rng)}, {literal(rng)})", f"({t})|replace('e', 'E', {n})",
        f"({t})|indent", f"({t})|indent(2, true)", f"({t})|indent(width='> ', blank=true)", f"({t})|indent(3, first=true, blank=true)", f"({t})|center(20)", f"({t})|truncate(12)", f"({t})|truncate(9, true, '…', 0)", f"({t})|reverse",
        f"({t})|default({literal(rng)}, true)", f"('' | default({t}, boolean=true))", f"(nothing|default({t}))", f"({t} if {condition(rng, d - 1)} else {u})", f"({t} or {u})", f"({t} and {u})", f"({t} * {number(rng, 0) if False else rng.choice(['0', '1', '2', '3', '-1'])})",
        f"('%s-%s' % ({t}, {number(rng, 1)}))", f"('%5d|%-6s|%05.1f|%x|%%' % ({number(rng, 1)}, {literal(rng)}, {floating(rng)}, 255))", f"('%(a)s %(b)r' % {{'a': {t}, 'b': {u}}})", f"('%s' % {t})", f"('%r' % [{t}])", f"('%.3s|%+d|% d' % ({t}, 3, 4))",
        f"('{{}} {{}}'.format({t}, {number(rng, 1)}))", f"('{{0}}{{1}}{{0}}'.format({literal(rng)}, {t}))", f"('{{a}}:{{b:>6}}|'.format(a={t}, b={literal(rng)}))", f"('{{:>8.2f}}|{{:<6}}|{{:^7}}|{{:,}}'.format({floating(rng)}, {literal(rng)}, {literal(rng)}, 1234567))",
        f"('{{:05d}} {{:+}} {{:x}} {{:b}} {{!r}} {{:e}} {{:.3g}} {{:%}}'.format({rng.choice(['3', '-14', '99'])}, 7, 255, 5, {t}, {floating(rng)}, {floating(rng)}, 0.25))", f"'%s'|format({t})", f"('%s %s'|format({t}, {u}))", f"({listed(rng, d - 1)})|join(', ')", f"({listed(rng, d - 1)})|join", f"{literal(rng)}.join([{t}, {u}])",
        f"({jsonable(rng)})|tojson", f"({jsonable(rng)})|tojson(indent={rng.choice(['2', '4', '0', 'none', repr('--')])})", f"({jsonable(rng)})|tojson(ensure_ascii={rng.choice(['true', 'false'])})", f"({jsonable(rng)})|tojson(separators=(',', ':'))", f"({jsonable(rng)})|tojson(indent=2, separators=(',', ': '), sort_keys=false)",
        f"({jsonable(rng)})|string", f"({dicted(rng)})|tojson(sort_keys=true)", f"{number(rng, 1)}|string", f"({floating(rng)})|string", f"(({listed(rng, d - 1)})|string)", f"({dicted(rng)})|string", f"({t})|list|string", f"({t}).split(' ')|map('upper')|join('_')",
        f"({t})|urlencode", f"({number(rng, 1)} * 1000)|filesizeformat", f"strftime_now({rng.choice(['%d %b %Y', '%Y-%m-%d', '%A, %B %d', '%H:%M', '%j %U %W %w %y', '%I %p', '%-d/%m', '%c', '%x %X', '%G-W%V-%u', '%e%%'])!r})", f"({t})|first", f"({t})|last", f"(({t})|string)|trim",
        f"({t})|e", f"({jsonable(rng)})|tojson|safe", f"describe({t})", f"describe({t}, b={u})", f"({t}).index({t})|string", f"('a' {literal(rng)} 'b')", f"({t}).isdecimal()|string", f"({t} is string)|string", f"{t}[0]", f"{t}['upper']()", f"({t})|attr('lower')()" , f"(({t}).splitlines()|batch(2)|list|string)",
    ])


def listed(rng, d=2):
    if d == 0 or rng.random() < 0.3:
        return rng.choice(["[1, 2, 3]", "['b', 'a', 'C']", "messages|map(attribute='role')|list", "[]", "range(4)|list", "[none, true, 1.0, 'x']", "['a', 'B', 'a', 'c']", "(3, 1, 2)", "[[1, 'x'], (2,), {}]"])
    a = listed(rng, d - 1)
    return rng.choice([
        f"({a} + {a}) if true else []" if False else f"({a})", f"({a})[1:]", f"({a})[::-1]", f"({a})|reverse|list", f"({a})|unique|list", f"[3, 1, 2]|sort", f"['b', 'A', 'c']|sort(reverse={rng.choice(['true', 'false'])})", f"['b', 'A', 'a']|sort(case_sensitive=true)",
        f"({a})|map('string')|list", f"({text(rng, d - 1)}).split()", f"({text(rng, d - 1)}).split({rng.choice(['1', 'none']) if False else repr('a')}, 1)", f"({text(rng, d - 1)}).splitlines()", "messages|selectattr('role', 'equalto', 'user')|map(attribute='role')|list", "messages|rejectattr('content', 'string')|map(attribute='role')|list",
        "messages|selectattr('tool_calls', 'defined')|map(attribute='role')|list", "messages|map(attribute='name', default='?')|list", "messages|map('length')|list", "[1, 2, 3, 4, 5]|select('odd')|list", "[0, 1, '', 'x', none]|select|list", "[1, 2, 3, 4]|reject('divisibleby', 2)|list", "[1, 2, 3, 4, 5]|batch(2)|list", "[1, 2, 3, 4, 5]|batch(2, 'x')|list", "[1, 2, 3, 4, 5]|slice(2)|list", "[1, 2, 3]|slice(2, 'f')|list",
        f"({dicted(rng)})|dictsort" if False else "{'b': 1, 'A': 2, 'c': 0}|dictsort", "{'b': 1, 'A': 2}|dictsort(by='value', reverse=true)", f"({dicted(rng)}).keys()|list", f"({dicted(rng)}).values()|list", f"({dicted(rng)}).items()|list", f"({dicted(rng)})|items|list", f"({dicted(rng)})|list", "messages|groupby('role')|map('first')|list", "messages|groupby('role')|map(attribute='grouper')|list", "messages|groupby('name', default='z')|map(attribute='list')|map('length')|list", f"({a})|list", f"(({text(rng, d - 1)})|list)", "range(1, 9, 3)|list", "range(5, 0, -2)|list", "'abc'|list", f"[{text(rng, d - 1)}, {number(rng, 1)}]", "messages|sort(attribute='role')|map(attribute='role')|list", "messages[0]|list", "(1, 2) + (3,)", "[1] * 3",
    ])


def dicted(rng):
    pairs = ", ".join(f"{rng.choice([repr(k) for k in KEYS[:9]] + ['1', 'true', 'none'])}: {rng.choice(['1', '1.5', literal(rng), '[1]', 'none', 'true', '{}', '1e3'])}" for _ in range(rng.randrange(0, 4)))
    return rng.choice([f"{{{pairs}}}", f"{{{pairs}}}", "dict(a=1, b='x')", "dict({'z': 1}, y=2)", "dict([('k', 'v')])", "messages[0]", "dict.fromkeys(['a', 'b'], 0)"])


def jsonable(rng):
    return rng.choice([dicted(rng), listed(rng, 1), "messages", "messages[0]", "messages[-1].content", "tools", "messages[0].extra|default({})", "[1, 1.0, 'é<>&', none, true, {'a': []}]", floating(rng), literal(rng), "(1, (2, 'x'))", "messages[-1].tool_calls|default([])", "1e400" if False else "1e22", "{1: 2, none: 3, true: 4}" if False else "{1: 2, 'b': 3}"])


# --------------------------------------------------------------------------------------- statements


def tag(rng, inside):
    return "{%" + rng.choice(["", "", "-", "+"]) + " " + inside + " " + rng.choice(["", "", "-", "+"] if not inside.startswith("raw") else ["", "-"]) + "%}"


def expression(rng, inside):
    return "{{" + rng.choice(["", "", "-"]) + " " + inside + " " + rng.choice(["", "", "-"]) + "}}"


def data(rng):
    return rng.choice(["", "\n", " ", "  \n", "<|im_start|>", "text", "\n\n    ", "<|im_end|>\n", "- ", "\t", "é\n", "{ not a tag }", "# x\n"])


def statement(rng, d=2, loop=False):
    t = lambda: text(rng, 2)
    body = lambda: program(rng, d - 1, loop)
    kinds = ["print", "print", "print", "set", "ns", "comment"] + (["if", "if", "for", "for", "setblock", "filter", "with", "macro", "call", "raw", "messages", "messages", "recursive", "tools", "loopvars"] if d else [])
    if loop:
        kinds += ["break", "loop"]
    kind = rng.choice(kinds)
    if kind == "print":
        return expression(rng, rng.choice([t(), t(), number(rng), floating(rng), anything_printed(rng), listed(rng), dicted(rng), condition(rng, 1)]))
    if kind == "set":
        return tag(rng, f"set {rng.choice(['x', 'y', 'tools', 'eos_token', 'content'])} = {rng.choice([t(), number(rng), listed(rng)])}") + rng.choice(["", expression(rng, "x"), expression(rng, "content"), expression(rng, "y|default('unset')")])
    if kind == "ns":
        return tag(rng, rng.choice([f"set ns.text = {t()}", f"set ns.n = ns.n + 1", "set a, b = 1, 'two'", "set (a, b) = messages[0].role, 2"])) + expression(rng, rng.choice(["ns.text", "ns.n", "ns['n']", "a|default('-')"]))
    if kind == "comment":
        return "{#" + rng.choice(["", "-"]) + " a comment {{ x }} " + rng.choice(["", "-"]) + "#}"
    if kind == "if":
        out = tag(rng, f"if {condition(rng)}") + body()
        if rng.random() < 0.4:
            out += tag(rng, f"elif {condition(rng)}") + body()
        if rng.random() < 0.5:
            out += tag(rng, "else") + body()
        return out + tag(rng, "endif")
    if kind == "for":
        head = rng.choice([f"for x in {listed(rng)}", "for k, v in messages[0].items()", f"for k, v in ({dicted(rng)})|items", "for m in messages", "for m in messages if m.role != 'system'", "for m in messages[1:]", "for c in bos_token", "for i in range(3)", "for k, v in {'b': 1, 'a': 2}|dictsort", "for x in nothing", "for g in messages|groupby('role')", "for m in messages if not ns.found"])
        inner = program(rng, d - 1, True) + rng.choice(["", expression(rng, rng.choice(["loop.index", "x", "m.role", "k", "v", "g.grouper", "loop.length", "i"])), tag(rng, "set ns.found = true") if "found" in head else ""])
        return tag(rng, head) + inner + (tag(rng, "else") + program(rng, d - 1, loop) if rng.random() < 0.3 else "") + tag(rng, "endfor")
    if kind == "setblock":
        return tag(rng, "set block" + rng.choice(["", " | trim", " | upper | trim"])) + body() + tag(rng, "endset") + expression(rng, "block")
    if kind == "filter":
        return tag(rng, rng.choice(["filter upper", "filter indent(2)", "filter replace('a', 'A') | trim"])) + body() + tag(rng, "endfilter")
    if kind == "with":
        return tag(rng, f"with x = {t()}, w = 3") + body() + expression(rng, "x ~ w") + tag(rng, "endwith")
    if kind == "macro":
        name = f"m{rng.randrange(4)}"
        return tag(rng, f"macro {name}(a, b='d', c=none)") + program(rng, d - 1, False) + expression(rng, rng.choice(["a", "b", "varargs", "kwargs", "a ~ b", "c is none", "caller is defined"])) + tag(rng, "endmacro") + expression(rng, f"{name}({rng.choice(['1', '1, 2', t(), 'a=3', '*[1, 2]', '**' + repr({'b': 5}), ''])})")
    if kind == "call":
        return tag(rng, "macro wrap(x)") + "<" + expression(rng, rng.choice(["caller()", "caller() ~ x"])) + ">" + tag(rng, "endmacro") + tag(rng, rng.choice(["call wrap(1)", "call wrap('é')"])) + program(rng, d - 1, False) + tag(rng, "endcall")
    if kind == "raw":
        return tag(rng, "raw") + " {{ raw }} {% if %}\n  " + tag(rng, "endraw")
    if kind == "break":
        return tag(rng, f"if {condition(rng, 1)}") + tag(rng, rng.choice(["break", "continue"])) + tag(rng, "endif")
    if kind == "loop":
        return expression(rng, rng.choice(["loop.index", "loop.first", "loop.last", "loop.length", "loop.revindex", "loop.cycle('a', 'b')", "loop.changed(1)", "loop.previtem is defined", "loop.nextitem is defined", "loop.depth", "loop.index0 % 2"]))
    if kind == "recursive":
        return tag(rng, "for n in [[1, [2]], [], [3]] recursive") + expression(rng, "n if n is number else loop(n)") + ";" + tag(rng, "endfor")
    if kind == "tools":
        return (tag(rng, "if tools") + tag(rng, "for tool in tools") + expression(rng, rng.choice(["tool|tojson", "tool | tojson(indent=4)", "tool.function.name|default('?')", "(tool.function or tool).parameters.properties.items()|list|string", "tool.items()|list|string"]))
                + "\n" + tag(rng, "endfor") + tag(rng, "endif"))
    if kind == "loopvars":
        return tag(rng, "set c = cycler('x', 'y', 'z')") + tag(rng, "set j = joiner(' | ')") + tag(rng, "for m in messages") + expression(rng, "j() ~ c.next() ~ loop.index") + tag(rng, "endfor") + expression(rng, "c.current")
    return messages_loop(rng)


def anything_printed(rng):
    return rng.choice(["none", "true", "nothing", "messages[0]", "[1, 'two', 3.0, none]", "{'a': (1,), 'é': 'it\\'s'}", "messages[0].content", "messages[-1].extra", "messages[-1].tool_calls", "tools", "add_generation_prompt", "range(3)", "messages[0].keys()", "messages[0].items()", "ns", "nothing is defined",
                       "unk_token", "pad_token", "tool_token", "sep_token", "additional_special_tokens", "extra_kwarg", "enable_thinking", "(1, 2.5, 'x')", "1 if false", "messages[0].nope", "describe", "2**70" if False else "2**60", "-1", "not none", "messages[0].get('content', 'none')", "messages[0].get('nope')", "'a' 'b'", "1 == 1.0"])


def messages_loop(rng):
    generation = rng.random() < 0.5
    minus = rng.choice([("", ""), ("-", "-"), ("", "-"), ("-", "")])
    inner = expression(rng, rng.choice(["message.content", "message['content']", "message.content|default('')|string|trim", "(message.content or '')|string", "message.get('content', '')"])) + data(rng)
    if rng.random() < 0.4:
        inner += (tag(rng, "if message.tool_calls") + tag(rng, "for call in message.tool_calls") + "<tool_call>" + expression(rng, rng.choice(
            ["call.function|tojson", "call|tojson", "call.function.name ~ '(' ~ call.function.arguments|tojson ~ ')'", "call.function.arguments", "call.function.arguments.items()|list if call.function.arguments is mapping else call.function.arguments"]))
            + "</tool_call>" + tag(rng, "endfor") + tag(rng, "endif"))
    if generation:
        inner = "{%" + minus[0] + " generation " + minus[1] + "%}" + data(rng) + inner + "{%" + minus[0] + " endgeneration " + minus[1] + "%}"
        inner = tag(rng, "if message.role == 'assistant'") + inner + tag(rng, "else") + expression(rng, "message.content") + tag(rng, "endif")
    return tag(rng, "for message in messages") + "<|im_start|>" + expression(rng, "message.role") + data(rng) + inner + "<|im_end|>" + data(rng) + tag(rng, "endfor")


def program(rng, d, loop=False):
    return "".join(data(rng) + statement(rng, d, loop) + data(rng) for _ in range(rng.randrange(1, 4)))


def template(rng):
    head = "{%- set ns = namespace(n=0, text='', found=false) -%}" + "{%- macro describe(a, b='-') -%}[{{ a }}/{{ b }}]{%- endmacro -%}"
    return head + program(rng, 2) + messages_loop(rng) + program(rng, 1) + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}" + rng.choice(["", "\n"])


MOMENTS = ["2026-11-30", "2024-02-29 23:59:58", "2021-01-03 00:05:09", "2027-12-31 12:00:00"]


def settings(rng, source):
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": rng.choice(["<s>", {"__type": "AddedToken", "content": "<s>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}]), "eos_token": "</s>"}
    if rng.random() < 0.5:
        config["pad_token"] = "<pad>"
    if rng.random() < 0.5:
        config["unk_token"] = "<unk>"
    if rng.random() < 0.3:
        config["tool_token"] = "<|tool|>"
    if rng.random() < 0.3:
        config[rng.choice(["additional_special_tokens", "extra_special_tokens"])] = ["<|im_start|>", "<|im_end|>"]
    elif rng.random() < 0.2:
        config["extra_special_tokens"] = {"im_token": "<|im_end|>"}
    files = {}
    place = rng.random()
    if place < 0.4:
        config["chat_template"] = source
    elif place < 0.7:
        files["chat_template.jinja"] = source
        if rng.random() < 0.3:
            config["chat_template"] = "not this one"
    elif place < 0.85:
        config["chat_template"] = [{"name": "default", "template": source}, {"name": "tool_use", "template": "TOOLS {{ tools|tojson }}" + source}]
    else:
        files["chat_template.jinja"] = source
        files["additional_chat_templates/tool_use.jinja"] = "{{ tools|length }} tools " + source
    return {"tokenizer.json": json.dumps(TOKENIZER), "tokenizer_config.json": json.dumps(config, ensure_ascii=False), **files}


def rendered(tokenizer, given, moment):
    """What transformers makes of a conversation: the text, and the spans of its assistant tracker."""

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromisoformat(moment)

    kept, reference.datetime = reference.datetime, Fixed
    try:
        text = tokenizer.apply_chat_template(given["messages"], tokenize=False, **{k: v for k, v in given.items() if k not in ("messages", "variables")}, **given.get("variables", {}))
        source = tokenizer.get_chat_template(None, given.get("tools"))
        _, spans = reference.render_jinja_template(
            [reference._normalize_chat_messages(given["messages"])], tools=given.get("tools"), documents=given.get("documents"), chat_template=source, return_assistant_tokens_mask=True,
            add_generation_prompt=given.get("add_generation_prompt", False), **{**tokenizer.special_tokens_map, **given.get("variables", {})})
    finally:
        reference.datetime = kept
    text.encode("utf-8")
    return text, [list(span) for span in spans[0]]


def marks(source, spans):
    """The spans, of a template that has marks."""
    return spans if re.search(r"\{%[-+]?\s*generation\s", source) else None


def given(rng):
    out = {"messages": conversation(rng), "add_generation_prompt": rng.random() < 0.5}
    if rng.random() < 0.4:
        out["tools"] = [tool(rng) for _ in range(rng.randrange(0, 3))]
    if rng.random() < 0.15:
        out["documents"] = [{"title": words(rng), "text": words(rng)}]
    if rng.random() < 0.3:
        out["variables"] = {k: v for k, v in {"enable_thinking": rng.random() < 0.5, "extra_kwarg": value(rng)}.items()}
    return out


def cases(rng, count):
    found = 0
    while found < count:
        source, conversation = template(rng), given(rng)
        # The same text must come back from what is written as JSON.
        conversation = json.loads(json.dumps(conversation))
        files, moment = settings(rng, source), rng.choice(MOMENTS)
        try:
            with tempfile.TemporaryDirectory() as folder:
                for name, text in files.items():
                    path = pathlib.Path(folder, name)
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(text, encoding="utf-8", newline="")
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            text, spans = rendered(tokenizer, conversation, moment)
        except Exception:
            continue
        # Places in memory are no text that could be compared.
        if " at 0x" in text or "<function" in text or "<built-in" in text or len(text) > 20000:
            continue
        found += 1
        yield {"files": files, "input": {**conversation, "date": moment}, "expect": {"text": text, "generation": marks(source, spans)}}
