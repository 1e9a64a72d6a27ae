// JSON as JavaScript reads and writes it, for a file: one text a line in hex, one answer a line in hex, `!` for what is no JSON.
// Lone surrogates are replaced, as a receiver that keeps UTF-8 does.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

function wellFormed(value) {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (value === null || typeof value !== "object") return value;
  const out = Object.create(null);
  for (const key of Object.keys(value)) out[key.toWellFormed()] = wellFormed(value[key]);
  return out;
}

for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
  let answer = "!";
  try {
    const value = JSON.parse(Buffer.from(line, "hex").toString());
    answer = Buffer.from(JSON.stringify(wellFormed(value))).toString("hex");
  } catch {
    // no JSON
  }
  process.stdout.write(answer + "\n");
}
