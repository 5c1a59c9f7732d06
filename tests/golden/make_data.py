"""Small tables in the formats that `train` reads, written by other programs: pyarrow, gzip, zstandard.

    pip install pyarrow zstandard && python make_data.py

The rows are those of tests/cli/program.rs.
"""
import csv, gzip, io, json, pathlib
import pyarrow as pa, pyarrow.parquet as pq, zstandard

out = pathlib.Path(__file__).parent / "data"
out.mkdir(exist_ok=True)
rows = [{"prompt": f"item {i} costs $", "completion": str(i * 7 % 50)} for i in range(13)]
table = pa.Table.from_pylist(rows)
pq.write_table(table, out / "rows.parquet", row_group_size=5)  # snappy, dictionaries
for codec in ["zstd", "gzip", "lz4", "none"]:
    pq.write_table(table, out / f"rows.{codec}.parquet", compression=codec, use_dictionary=False, data_page_version="2.0")
text = io.StringIO()
writer = csv.DictWriter(text, ["completion", "prompt"])
writer.writeheader()
writer.writerows(rows)
(out / "rows.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
lines = "".join(json.dumps(row) + "\n" for row in rows)
(out / "rows.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
(out / "rows.json").write_text(json.dumps(rows, indent=1))
chats = [{"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}],
          "price": i * 7 % 50 / 2, "day": None} for i, row in enumerate(rows)]
pq.write_table(pa.Table.from_pylist(chats), out / "chats.parquet")
