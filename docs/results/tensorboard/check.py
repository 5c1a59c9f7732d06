"""Reads the event file of a run with PyPI `tensorboard` and compares it with metrics.jsonl.

    pip install tensorboard && python check.py RUNDIR
"""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

run = Path(sys.argv[1])
(file,) = (run / "tensorboard").iterdir()

# Record by record, so that a wrong checksum is an error and not an end.
reader, records = PyRecordReader_New(str(file)), 0
while True:
    try:
        reader.GetNext()
    except Exception as end:  # OutOfRangeError lives in a module whose name changes with the version
        assert type(end).__name__ == "OutOfRangeError", end
        break
    records += 1

events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
read = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
written = {}
for line in (run / "metrics.jsonl").read_text().splitlines():
    line = json.loads(line)
    for key, value in line.items():
        if key not in ("step", "seconds") and value is not None:
            tag = f"eval/{key[5:]}" if key.startswith("eval_") else f"train/{key}"
            single = struct.unpack("f", struct.pack("f", value))[0]
            written.setdefault(tag, []).append((line["step"], single))
assert read == written, "the event file and metrics.jsonl differ"
print(f"{records} records; " + ", ".join(f"{tag} {len(points)}" for tag, points in sorted(read.items())))
