"""Tables in all dialects, with the records that pandas and `datasets` read from them; and prices as tables write them.

A case is a file and what is read from it: `expect` is `{"records": […]}`, or `{"named": […]}` for what the reference
does not read either, or reads without the user's knowing: then the error must have these words. Cases of prices have
no file: `{"dollars": […]}` has a number, or null for a text that is refused, for each of `input["prices"]`. The
conventions are written down a second time here, as patterns; docs/tables.md has them in words.

Bytes that are no text are `{"bytes that are no text": n}`; null and a missing key are the same.
"""

import base64
import datetime
import decimal
import gzip
import io
import json
import math
import re
import uuid

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ["lamp", "chair", "a 5\" pipe", "crème brûlée", "北京", "🙂 ok", "x", "é", "NA", "null", "None", "NaN", "1e3", "1,299.00",
         "12,50", "true", "# no comment", "it's", "a;b", "c|d", "e\tf", "two\nlines", "cr\rhere", "crlf\r\nhere", "",
         " ", " lead", "trail ", "say \"hi\"", "\"", "\"\"", "back\\slash", "\u2028sep", "nbsp\u00a0", "=1+1", "{a}", "[b]", "0012", "-"]
NAMES = ["prompt", "completion", "text", "price", "title", "id", "question", "größe", "a b", "x.1", "Unit (kg)", "#", "weight", "n", "日付"]


def text(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def packed(rng, data, name):
    """The bytes, perhaps compressed, and the name with the ending of that."""
    how = rng.choice(["", "", "", ".gz", ".zst"])
    if how == ".gz":
        data = gzip.compress(data, mtime=0)
    elif how == ".zst":
        data = zstd(data)
    # The ending is not needed: the first bytes say it.
    return data, name + (how if rng.random() < 0.7 else "")


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as to:
        to.write(data)
    return sink.getvalue().to_pybytes()


def case(name, data, expect):
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError:
        content = {"base64": base64.b64encode(data).decode()}
    # Line ends must survive the way through JSON, which they do; a mark at the start does too.
    return {"files": {name: content}, "input": {"file": name}, "expect": expect}


# CSV

def quoted(rng, field, mark, style, blank_matters):
    must = any(c in field for c in (mark, "\n", "\r")) or field.startswith('"') or (blank_matters and not field.strip())
    if must or style == "all" or (style == "some" and rng.random() < 0.3):
        return '"' + field.replace('"', '""') + '"'
    return field


def csv(rng):
    mark = rng.choice([",", ",", ",", ";", "\t", "|"])
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    style = rng.choice(["few", "few", "some", "all"])
    names = rng.sample(NAMES, rng.randint(1, 5))
    if len(names) == 1:
        # Nothing in the header tells of another one, and pandas' is the comma.
        mark = ","
    if len(names) > 1 and rng.random() < 0.15:
        # The index of pandas has no name.
        names[0] = ""
    if rng.random() < 0.1:
        names = [rng.choice(["", " "]) + name + rng.choice(["", " "]) if name else name for name in names]
    one = len(names) == 1
    header = mark.join(quoted(rng, name, mark, style, one) for name in names)
    lines = []
    for _ in range(rng.choice([0, 1, 3, 8, 20])):
        # A first field that is empty makes no blank line where there are more.
        row = [quoted(rng, text(rng), mark, style, one) for _ in names]
        line = mark.join(row)
        if not line.strip(" " if mark == "\t" else " \t"):
            line = '""' if one else line + '""'
        if end == "\r" and line.startswith(mark):
            # pandas loses an empty first field behind a blank line that ends in CR.
            line = '""' + line
        lines.append(line)
        if rng.random() < 0.1:
            lines.append(rng.choice(["", "  "]))
    body = end.join([header, *lines]) + (end if rng.random() < 0.8 else "")
    plain = body.encode("utf-8")
    expected = pd.read_csv(io.BytesIO(plain), sep=mark, dtype=str, keep_default_na=False)
    expected.columns = [name.strip() for name in expected.columns]
    records = expected.to_dict("records")
    if rng.random() < 0.15:
        body = rng.choice(["sep={}", "\"sep={}\"", "SEP={}"]).format(mark) + end + body
    data = body.encode("utf-8")
    if rng.random() < 0.25:
        data = b"\xef\xbb\xbf" + data
    ending = ".tsv" if mark == "\t" and rng.random() < 0.5 else ".csv"
    if ending == ".csv" and names[0].strip()[:1] not in ("{", "[") and rng.random() < 0.15:
        ending = rng.choice(["", ".txt", ".dat"])
    data, name = packed(rng, data, "table" + ending)
    return case(name, data, {"records": records})


def refused_csv(rng):
    """What pandas refuses, or reads in a way that nobody means."""
    rows = "".join(f"{i},word {i}\n" for i in range(3))
    kinds = [
        (f"id,text\n{rows}7,a,b\n", ["line 5", "3 fields", "header has 2"]),
        (f"id,text\n{rows}7\n", ["line 5", "1 fields", "header has 2"]),
        (f"id,text\n{rows}7,\"a\n8,b\n", ["line 5", "not closed"]),
        (f"# made on Monday\nid,text\n{rows}", ["line 2", "line 1", "`#`"]),
        (f"id,id\n{rows}", ["line 1", "two columns", "`id`"]),
        (f"id,text\n{rows}7,\"a\"b\n", ["line 5", "closing quote"]),
        (f"id,text\n{rows}".encode("utf-16"), ["UTF-16"]),
        (f"id,text\n{rows}".encode("utf-16-le"), ["UTF-16"]),
        (f"id,text\n{rows}7,café\n".encode("latin-1"), ["line 5", "not UTF-8", "Latin-1"]),
        (f"id,text\n{rows}7,a\x80\n".encode("cp1252", errors="ignore") + b"8,\x80 5\n", ["not UTF-8", "Windows-1252"]),
        (__import__("bz2").compress(b"id,text\n1,a\n"), ["bzip2"]),
        (__import__("lzma").compress(b"id,text\n1,a\n"), ["xz"]),
        (zipped(b"id,text\n1,a\n"), ["zip", "Excel"]),
    ]
    data, words = rng.choice(kinds)
    return case("table.csv", data if isinstance(data, bytes) else data.encode(), {"named": words})


def zipped(data):
    import zipfile
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("table.csv"), data)
    return out.getvalue()


# JSON

def value(rng, depth=0):
    kinds = ["text", "text", "int", "float", "bool", "null"] + (["list", "map"] if depth < 3 else [])
    match rng.choice(kinds):
        case "text":
            return text(rng)
        case "int":
            return rng.choice([0, -1, 7, 2**31, -(2**63), 2**64 - 1, rng.randint(-10**6, 10**6)])
        case "float":
            return rng.choice([0.5, -0.25, 1e-7, 1e22, float(f"{rng.uniform(-1000, 1000):.4f}")])
        case "bool":
            return rng.random() < 0.5
        case "null":
            return None
        case "list":
            return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
        case "map":
            return {rng.choice(NAMES) + str(i): value(rng, depth + 1) for i in range(rng.randint(0, 3))}


def objects(rng):
    names = rng.sample(NAMES, rng.randint(1, 4))
    return [{name: value(rng) for name in names if rng.random() < 0.9} for _ in range(rng.choice([1, 3, 8]))]


def jsonl(rng):
    all = objects(rng)
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    spaced = rng.choice([(",", ":"), (", ", ": "), (" ,\t", " : ")])
    lines = [json.dumps(o, ensure_ascii=rng.random() < 0.5, separators=spaced) for o in all]
    body = end.join(lines) + (end * rng.randint(1, 2) if rng.random() < 0.8 else "")
    data = body.encode("utf-8")
    expected = [json.loads(line) for line in lines]
    if rng.random() < 0.2:
        data = b"\xef\xbb\xbf" + data
    data, name = packed(rng, data, "rows" + rng.choice([".jsonl", ".ndjson", ".json", ""]))
    return case(name, data, {"records": expected})


def json_list(rng):
    all = objects(rng)
    body = json.dumps(all, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 0, 1, 4]))
    body = rng.choice(["", "\n", "  \r\n"]) + body.replace("\n", rng.choice(["\n", "\r\n"])) + rng.choice(["", "\n"])
    data = body.encode("utf-8")
    if rng.random() < 0.2:
        data = b"\xef\xbb\xbf" + data
    data, name = packed(rng, data, "rows" + rng.choice([".json", ".jsonl", ""]))
    return case(name, data, {"records": json.loads(body)})


def refused_json(rng):
    good = '{"text": "a"}\n'
    line, words = rng.choice([
        ('{"text": NaN}', ["line 2", "NaN", "null"]),
        ('{"text": "b", "n": -Infinity}', ["line 2", "Infinity"]),
        ('{"text": "b",}', ["line 2", "not valid JSON"]),
        ('{"text": "b", "text": "c"}', ["line 2", "`text` stands twice"]),
        ('{"text": "b", "m": {"k": 1, "k": 1}}', ["line 2", "`k` stands twice"]),
        ("{'text': 'b'}", ["line 2", "not valid JSON"]),
        ('["b"]', ["line 2", "array"]),
        ('{"text": "b"', ["line 2", "not valid JSON"]),
        ('{"text": "b"} {"text": "c"}', ["line 2", "not valid JSON"]),
        ('{\n"text": "b"\n}', ["line 2", "one JSON object a line"]),
    ])
    return case("rows.jsonl", (good + line + "\n").encode(), {"named": words})


# Parquet

def leaf(rng):
    """A type of a column and a maker of its values."""
    def stamp(unit, zone=None):
        per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        most = 4 * 10**9 if unit == "ns" else 10**10
        return pa.timestamp(unit, zone), lambda: rng.choice([0, rng.randint(-most, most)]) * per + rng.choice([0, rng.randrange(per)])
    letters = lambda: text(rng).encode()
    return rng.choice([
        lambda: (pa.string(), lambda: text(rng)),
        lambda: (pa.string(), lambda: text(rng)),
        lambda: (pa.large_string(), lambda: text(rng)),
        lambda: (pa.binary(), letters),
        lambda: (pa.large_binary(), letters),
        lambda: (pa.binary(), lambda: rng.choice([letters(), bytes([0xff, 0xfe, 0]), b"\x89PNG\r\n"])),
        lambda: (pa.binary(4), lambda: rng.choice([b"abcd", b"\xff\x00\x01\x02"])),
        lambda: (pa.bool_(), lambda: rng.random() < 0.5),
        lambda: (pa.int8(), lambda: rng.randint(-128, 127)),
        lambda: (pa.int16(), lambda: rng.randint(-2**15, 2**15 - 1)),
        lambda: (pa.int32(), lambda: rng.randint(-2**31, 2**31 - 1)),
        lambda: (pa.int64(), lambda: rng.choice([-2**63, 2**63 - 1, 5])),
        lambda: (pa.uint8(), lambda: rng.randint(0, 255)),
        lambda: (pa.uint16(), lambda: rng.randint(0, 2**16 - 1)),
        lambda: (pa.uint32(), lambda: rng.randint(0, 2**32 - 1)),
        lambda: (pa.uint64(), lambda: rng.choice([0, 2**64 - 1, 7])),
        lambda: (pa.float16(), lambda: rng.choice([0.5, -2.25, 65504.0])),
        lambda: (pa.float32(), lambda: rng.choice([0.1, -1.5, math.nan, math.inf, 2.0**20])),
        lambda: (pa.float64(), lambda: rng.choice([0.1, 1e300, math.nan, -math.inf, 2.5])),
        lambda: (pa.decimal128(9, 2), lambda: decimal.Decimal(rng.randint(-10**9 + 1, 10**9 - 1)).scaleb(-2)),
        lambda: (pa.decimal128(18, 4), lambda: decimal.Decimal(rng.randint(-10**17, 10**17)).scaleb(-4)),
        lambda: (pa.decimal128(38, 10), lambda: decimal.Decimal(rng.randint(-10**20, 10**20)).scaleb(-10)),
        lambda: (pa.decimal256(50, 3), lambda: decimal.Decimal(rng.randint(-10**20, 10**20)).scaleb(-3)),
        lambda: (pa.date32(), lambda: rng.randint(-30000, 60000)),
        lambda: (pa.date64(), lambda: rng.randint(-30000, 60000) * 86_400_000),
        lambda: (pa.time32("s"), lambda: rng.randrange(86_400)),
        lambda: (pa.time32("ms"), lambda: rng.randrange(86_400_000)),
        lambda: (pa.time64("us"), lambda: rng.randrange(86_400_000_000)),
        lambda: (pa.time64("ns"), lambda: rng.randrange(86_400_000_000) * 1000),
        lambda: stamp("s"),
        lambda: stamp("ms"),
        lambda: stamp("us"),
        lambda: stamp("ns"),
        lambda: stamp("us", "UTC"),
        lambda: stamp("ns", "Europe/Berlin"),
        lambda: (pa.dictionary(pa.int32(), pa.string()), lambda: rng.choice(["a", "b", "crème"])),
        lambda: (pa.null(), lambda: None),
    ])()


def column(rng, depth=0):
    kind = rng.random()
    if depth < 2 and kind < 0.3:
        inner, make = column(rng, depth + 1)
        if kind < 0.15 and not pa.types.is_null(inner):
            of = rng.choice([pa.list_, pa.large_list])(inner)
            return of, lambda: [some(rng, make) for _ in range(rng.randint(0, 3))]
        if kind < 0.2 and not pa.types.is_null(inner):
            return pa.map_(pa.string(), inner), lambda: list({rng.choice("abcdef"): some(rng, make) for _ in range(rng.randint(0, 3))}.items())
        other, also = column(rng, depth + 1)
        return pa.struct([("u", inner), ("v", other)]), lambda: {"u": some(rng, make), "v": some(rng, also)}
    return leaf(rng)


def some(rng, make):
    return None if rng.random() < 0.15 else make()


def plain(value, kind):
    """A value of Python as JSON has it."""
    if value is None:
        return None
    if pa.types.is_map(kind):
        return {key: plain(inner, kind.item_type) for key, inner in value}
    if pa.types.is_struct(kind):
        return {field.name: plain(value[field.name], field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [plain(inner, kind.value_type) for inner in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"bytes that are no text": len(value)}
    if isinstance(value, float):
        return None if math.isnan(value) else str(value) if math.isinf(value) else value
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, pd.Timestamp) and value.tz is not None:
        return str(value.tz_convert("UTC"))
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return str(value.astimezone(datetime.timezone.utc))
    if isinstance(value, (datetime.date, datetime.time, uuid.UUID)):
        return str(value)
    return value


def parquet(rng):
    names = rng.sample(NAMES, rng.randint(1, 5))
    columns = [column(rng) for _ in names]
    count = rng.choice([0, 1, 5, 12, 40])
    arrays = []
    for kind, make in columns:
        values = [some(rng, make) for _ in range(count)]
        if pa.types.is_dictionary(kind):
            arrays.append(pa.array(values, kind.value_type).dictionary_encode())
        else:
            arrays.append(pa.array(values, kind))
    table = pa.table(dict(zip(names, arrays)))
    options = {
        "compression": rng.choice(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
        "data_page_version": rng.choice(["1.0", "2.0"]),
        "row_group_size": rng.choice([3, 10, 1000]),
        "data_page_size": rng.choice([16, 200, 1 << 20]),
        "write_statistics": rng.random() < 0.7,
        "version": rng.choice(["1.0", "2.4", "2.6"]),
        "use_compliant_nested_type": rng.random() < 0.7,
        "store_schema": rng.random() < 0.7,
        "write_page_index": rng.random() < 0.3,
        "write_page_checksum": rng.random() < 0.3,
        "store_decimal_as_integer": rng.random() < 0.3,
        "write_batch_size": rng.choice([2, 1024]),
    }
    encodings = {}
    if rng.random() < 0.5:
        options["use_dictionary"] = False
        for name, (kind, _) in zip(names, columns):
            if pa.types.is_string(kind) or pa.types.is_binary(kind):
                encodings[name] = rng.choice(["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
            elif pa.types.is_int32(kind) or pa.types.is_int64(kind):
                encodings[name] = rng.choice(["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"])
            elif pa.types.is_float32(kind) or pa.types.is_float64(kind):
                encodings[name] = rng.choice(["PLAIN", "BYTE_STREAM_SPLIT"])
        if encodings:
            options["column_encoding"] = encodings
    else:
        options["use_dictionary"] = rng.choice([True, names[:1]])
    for more in ({}, {"version": "2.6", "column_encoding": None}):
        # What one version or encoding cannot hold, another can.
        out = io.BytesIO()
        try:
            pq.write_table(table, out, **{**options, **more})
            back = pq.read_table(io.BytesIO(out.getvalue()))
            break
        except (pa.ArrowException, OSError):
            continue
    else:
        # What the reference cannot write, or not read again, is no case.
        return parquet(rng)
    data = out.getvalue()
    kinds = {field.name: field.type for field in back.schema}
    rows = [{name: plain(value, kinds[name]) for name, value in row.items()} for row in back.to_pylist()]
    return case("rows.parquet" if rng.random() < 0.8 else "rows.bin", data, {"records": rows})


# Prices

GROUPED = r"[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?"
DECIMAL = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)"
MONEY = f"({GROUPED}|{DECIMAL})"
DOLLAR = r"(\$|US ?\$)"
CONVENTIONS = [
    rf"[+-]?{DECIMAL}([eE][+-]?[0-9]+)?",
    rf"[+-]?{GROUPED}",
    # A mark before it, the sign before or behind the mark, perhaps USD behind it.
    rf"[+-]?{DOLLAR}\s*{MONEY}(\s*USD)?",
    rf"{DOLLAR}\s*[+-]{MONEY}(\s*USD)?",
    rf"[+-]?USD\s*{DOLLAR}?\s*{MONEY}",
    rf"USD\s*{DOLLAR}?\s*[+-]{MONEY}",
    rf"[+-]?{MONEY}\s*(USD|\$)",
]


def dollars(written):
    """The number that a text is by one of the conventions, or None."""
    written = written.strip()
    if not any(re.fullmatch(pattern, written, re.ASCII) for pattern in CONVENTIONS):
        return None
    number = float(re.sub(r"[,$\sUSD+-]", "", written)) if "e" not in written.lower() else float(written)
    return -number if "e" not in written.lower() and "-" in written else number


def price(rng):
    whole = rng.choice(["0", "5", "12", "999", "1,299", "12,345", "1,234,567", "0,999", "00012", "1234", "1234,567", "12,50", "1.234",
                        "1,23,456", "1 234", "1.234,56", "", "١٢", ",123", "1,2345", "012,345", "cheap", "NaN", "inf", "3-4"])
    written = whole + rng.choice(["", "", ".", ".5", ".50", ".999", ".5.5", " .5"])
    written += rng.choice(["", "", "", "", "e3", "E-2", "+5"])
    written = rng.choice(["", "", "", "$", "$ ", "US$", "US $", "USD ", "USD", "USD $", "€", "$$", "usd ", "~", "("]) + written
    written = rng.choice(["", "", "", "", "-", "+", "--"]) + written
    written += rng.choice(["", "", "", "", " USD", "USD", " $", "$", "€", " EUR", "%", " each", ")"])
    return rng.choice(["", "", " "]) + written + rng.choice(["", "", " "])


def prices(rng):
    texts = [price(rng) for _ in range(30)]
    return {"input": {"prices": texts}, "expect": {"dollars": [dollars(text) for text in texts]}}


def cases(rng, count):
    kinds = [csv] * 7 + [jsonl, jsonl, json_list] + [parquet] * 7 + [refused_csv, refused_json, prices, prices]
    for i in range(count):
        # Each kind in turn, so that few cases have all of them.
        yield kinds[i * 8 % len(kinds)](rng)
