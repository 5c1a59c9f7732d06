// The command line beside the page: the same questions, and files to compare.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

export function native(program, args) {
  const out = execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 26 });
  return out.trim().split("\n").map((line) => JSON.parse(line));
}

/** Tensors of a safetensors file, f32. */
export function tensors(bytes) {
  const length = Number(bytes.readBigUInt64LE(0));
  const head = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8"));
  const found = new Map();
  for (const [name, { data_offsets: [from, to] }] of Object.entries(head).filter(([name]) => name !== "__metadata__")) {
    const part = bytes.subarray(8 + length + from, 8 + length + to);
    found.set(name, new Float32Array(part.buffer.slice(part.byteOffset, part.byteOffset + part.length)));
  }
  return found;
}

/** The files of a stored zip archive. */
export function unzip(path) {
  const bytes = readFileSync(path);
  const files = new Map();
  for (let at = 0; bytes.readUInt32LE(at) === 0x04034b50;) {
    const [size, label] = [bytes.readUInt32LE(at + 18), bytes.readUInt16LE(at + 26)];
    const name = bytes.subarray(at + 30, at + 30 + label).toString("utf8");
    files.set(name, bytes.subarray(at + 30 + label, at + 30 + label + size));
    at += 30 + label + size;
  }
  return files;
}
