// A tiny embedding without a model: each word and each run of three letters votes for one of the dimensions. The same
// text has the same vector everywhere, and texts that share words lie close.
export const DIMENSIONS = 32;

// FNV-1a.
function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  }
  return value;
}

export function embed(text) {
  const vector = new Array(DIMENSIONS).fill(0);
  const vote = (part, weight) => {
    const value = hash(part);
    vector[value % DIMENSIONS] += value & 0x8000 ? weight : -weight;
  };
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []) {
    vote(word, 2);
    for (let at = 0; at + 3 <= word.length; at++) vote(word.slice(at, at + 3), 1);
  }
  const length = Math.hypot(...vector);
  // An empty text has no direction, and a zero vector no cosine.
  if (length === 0) vector[0] = 1;
  return length === 0 ? vector : vector.map((value) => value / length);
}
