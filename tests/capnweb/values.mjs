// Values, errors and the `describe` form shared by the test server and the test client.

// Tags of plain values, errors and so on. `isStub` tells a stub of the library in use.
const ERROR_NAMES = new Set([
  "Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError", "AggregateError",
]);

const BYTE_KINDS = [
  Uint8ClampedArray, Int8Array, Int16Array, Uint16Array, Int32Array, Uint32Array,
  BigInt64Array, BigUint64Array, Float32Array, Float64Array,
];

const hex = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");

export async function errorProps(e, isStub) {
  const keys = new Set(Object.keys(e).filter((k) => !["name", "message", "stack"].includes(k)));
  if (Object.hasOwn(e, "cause")) keys.add("cause");
  if (e instanceof AggregateError) keys.add("errors");
  const props = [];
  for (const key of [...keys].sort()) props.push([key, await tag(e[key], isStub)]);
  return props;
}

export const errorName = (e) => (ERROR_NAMES.has(e.name) ? e.name : "Error");

export async function tag(v, isStub) {
  if (v === null) return { t: "null" };
  switch (typeof v) {
    case "undefined": return { t: "undef" };
    case "boolean": return { t: "bool", v };
    case "string": return { t: "str", v };
    case "bigint": return { t: "bigint", v: v.toString() };
    case "number":
      if (Object.is(v, -0)) return { t: "num", v: "-0" };
      return { t: "num", v: Number.isFinite(v) ? v : String(v) };
    case "function": return { t: "stub" };
  }
  if (isStub(v)) return { t: "stub" };
  if (v instanceof Date) return { t: "date", v: Number.isNaN(v.getTime()) ? null : v.getTime() };
  if (v instanceof ArrayBuffer) return { t: "bytes", kind: "ArrayBuffer", hex: hex(new Uint8Array(v)) };
  if (v instanceof DataView) return { t: "bytes", kind: "DataView", hex: hex(v) };
  for (const kind of BYTE_KINDS) if (v instanceof kind) return { t: "bytes", kind: kind.name, hex: hex(v) };
  if (v instanceof Uint8Array) return { t: "bytes", kind: "Uint8Array", hex: hex(v) };
  if (v instanceof Error) {
    return { t: "err", name: errorName(v), message: v.message, props: await errorProps(v, isStub) };
  }
  if (v instanceof URL) return { t: "url", v: v.href };
  if (v instanceof Headers) return { t: "headers", v: [...v] };
  if (v instanceof Request) {
    return {
      t: "request", url: v.url, method: v.method, headers: [...v.headers], body: v.body ? await v.text() : null,
    };
  }
  if (v instanceof Response) {
    return {
      t: "response", status: v.status, statusText: v.statusText, headers: [...v.headers],
      body: v.body ? await v.text() : null,
    };
  }
  if (v instanceof Blob) {
    return { t: "blob", type: v.type, hex: hex(new Uint8Array(await v.arrayBuffer())) };
  }
  if (v instanceof ReadableStream) return { t: "readable" };
  if (v instanceof WritableStream) return { t: "writable" };
  if (Array.isArray(v)) {
    const out = [];
    for (const x of v) out.push(await tag(x, isStub));
    return { t: "arr", v: out };
  }
  const out = [];
  for (const key of Object.keys(v)) out.push([key, await tag(v[key], isStub)]);
  return { t: "obj", v: out };
}

const bytes = (...list) => new Uint8Array(list);

// Every kind of `make`, as a function that builds a new value.
export const MAKE = {
  null: () => null,
  undefined: () => undefined,
  true: () => true,
  false: () => false,
  int: () => 42,
  neg: () => -7,
  float: () => 1.5,
  negzero: () => -0,
  maxsafe: () => Number.MAX_SAFE_INTEGER,
  big: () => 1e300,
  tiny: () => 5e-324,
  inf: () => Infinity,
  "-inf": () => -Infinity,
  nan: () => NaN,
  string: () => "hello",
  "string-empty": () => "",
  "string-unicode": () => "h\u00e9llo \u{1F600} \u0000 \" \\ \n",
  bigint: () => 12345678901234567890n,
  "bigint-neg": () => -5n,
  "bigint-zero": () => 0n,
  date: () => new Date(1749342170815),
  "date-frac": () => new Date(-1),
  "date-invalid": () => new Date(NaN),
  bytes: () => bytes(0, 1, 2, 0xff),
  "bytes-empty": () => bytes(),
  "bytes-1": () => bytes(0xfb),
  "bytes-2": () => bytes(0xfb, 0xff),
  arraybuffer: () => bytes(1, 2, 3).buffer,
  dataview: () => new DataView(bytes(1, 2, 3).buffer),
  int8array: () => new Int8Array([-1, 1]),
  uint8clampedarray: () => new Uint8ClampedArray([0, 255]),
  int16array: () => new Int16Array([-2, 258]),
  uint16array: () => new Uint16Array([1, 258]),
  int32array: () => new Int32Array([-1, 16909060]),
  uint32array: () => new Uint32Array([16909060]),
  bigint64array: () => new BigInt64Array([-1n]),
  biguint64array: () => new BigUint64Array([1n]),
  float32array: () => new Float32Array([1.5]),
  float64array: () => new Float64Array([-2.25]),
  array: () => [1, "two", null],
  "array-empty": () => [],
  "array-nested": () => [[1], [[2, [3]]]],
  "array-like-expr": () => ["date", 5],
  object: () => ({ a: 1, b: "x", c: [true] }),
  "object-empty": () => ({}),
  "object-undef": () => ({ a: undefined, b: null }),
  "object-order": () => ({ z: 1, y: 2, 10: 3, 9: 4, x: 5 }),
  url: () => new URL("https://example.com/a%20b?q=1#f"),
  headers: () => new Headers({ A: "1", "X-B": "2" }),
  "headers-multi": () => new Headers([["a", "1"], ["a", "2"], ["set-cookie", "x=1"], ["set-cookie", "y=2"]]),
  request: () => new Request("http://example.com/p?q=1"),
  "request-post": () =>
    new Request("http://example.com/p", { method: "POST", headers: { "x-a": "b" }, body: "body text" }),
  response: () => new Response(null, { status: 204 }),
  "response-body": () => new Response("hi there", { status: 201, statusText: "Made", headers: { "x-a": "b" } }),
  blob: () => new Blob(["blob text"], { type: "text/plain" }),
  "blob-empty": () => new Blob([]),
};

// Every error kind but `stubprop`, as a function that builds a new error.
export const ERRORS = {
  error: () => new Error("plain"),
  type: () => new TypeError("bad type"),
  range: () => new RangeError("bad range"),
  syntax: () => new SyntaxError("bad syntax"),
  reference: () => new ReferenceError("bad ref"),
  uri: () => new URIError("bad uri"),
  eval: () => new EvalError("bad eval"),
  custom: () => Object.assign(new Error("custom"), { name: "CustomError" }),
  props: () =>
    Object.assign(new RangeError("rich"), {
      code: "E_RICH", details: { reason: "because", count: 7 }, when: new Date(1234),
    }),
  cause: () => new Error("outer", { cause: new TypeError("inner") }),
  aggregate: () => new AggregateError([new TypeError("a"), new RangeError("b")], "agg"),
};

export const THROWN = {
  string: () => "just a string",
  null: () => null,
  number: () => 7,
  object: () => ({ code: 5 }),
  undefined: () => undefined,
};
