// A zip archive of a few small files, stored without compression (safetensors do not compress).

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** A Blob of `[{name, bytes}]`. */
export function zip(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  // 1 January 1980: the same adapter gives the same archive.
  const common = (bytes) => [20, 0, 0, 33, crc32(bytes), bytes.length, bytes.length];
  const header = (size, fill) => {
    const view = new DataView(new ArrayBuffer(size));
    fill(view);
    return new Uint8Array(view.buffer);
  };
  for (const { name, bytes } of files) {
    const label = new TextEncoder().encode(name);
    const [version, flags, time, date, crc, packed, size] = common(bytes);
    const fields = (view, from) => {
      [version, flags, 0, time, date].forEach((value, i) => view.setUint16(from + 2 * i, value, true));
      [crc, packed, size].forEach((value, i) => view.setUint32(from + 10 + 4 * i, value, true));
      view.setUint16(from + 22, label.length, true);
    };
    parts.push(header(30, (view) => {
      view.setUint32(0, 0x04034b50, true);
      fields(view, 4);
    }), label, bytes);
    directory.push(header(46, (view) => {
      view.setUint32(0, 0x02014b50, true);
      view.setUint16(4, 20, true);
      fields(view, 6);
      view.setUint32(42, at, true);
    }), label);
    at += 30 + label.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = header(22, (view) => {
    view.setUint32(0, 0x06054b50, true);
    view.setUint16(8, files.length, true);
    view.setUint16(10, files.length, true);
    view.setUint32(12, size, true);
    view.setUint32(16, at, true);
  });
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
