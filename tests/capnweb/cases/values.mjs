// Values in both directions.
import TAGS from "../tags.mjs";
import { MAKE } from "../values.mjs";

// 0.5 knows plain values only.
const OLD_KINDS = new Set([
  "null", "undefined", "true", "false", "int", "neg", "float", "negzero", "maxsafe", "big", "tiny", "inf", "-inf",
  "nan", "string", "string-empty", "string-unicode", "bigint", "bigint-neg", "bigint-zero", "date", "date-frac",
  "bytes", "bytes-empty", "bytes-1", "bytes-2", "array", "array-empty", "array-nested", "array-like-expr", "object",
  "object-empty", "object-undef", "object-order",
]);
const WITH_STREAM = new Set(["request-post", "response-body", "blob", "blob-empty"]);

// Integer-like keys come first in JS, elsewhere they may not.
const anyOrder = (kind, t) => (kind === "object-order" ? { ...t, v: t.v.toSorted((a, b) => (a[0] < b[0] ? -1 : 1)) } : t);

export default function ({ test, testAny, eq, tag, outcome, error }) {
  for (const kind of Object.keys(MAKE)) {
    const add = OLD_KINDS.has(kind) ? testAny : test;
    const same = (t) => eq(anyOrder(kind, t), anyOrder(kind, TAGS[kind]));
    add(`make-${kind}`, async (t) => same(await tag(await t.main.make(kind))));
    add(`describe-${kind}`, async (t) => same(await t.main.describe(MAKE[kind]())));
    if (!WITH_STREAM.has(kind)) add(`echo-${kind}`, async (t) => same(await tag(await t.main.echo(MAKE[kind]()))));
  }
  testAny("make-unknown-kind", async (t) => {
    eq((await outcome(t.main.make("no such kind"))).name, "Error");
  });

  testAny("describe-no-arguments", async (t) => eq(await t.main.describe(), { t: "arr", v: [] }));
  testAny("describe-two-arguments", async (t) => {
    eq(await t.main.describe(1, "x"), { t: "arr", v: [{ t: "num", v: 1 }, { t: "str", v: "x" }] });
  });
  testAny("describe-stub", async (t) => eq(await t.main.describe(() => 1), { t: "stub" }));
  testAny("describe-stub-of-server", async (t) => {
    eq(await t.main.describe(await t.main.makeCounter(1)), { t: "stub" });
  });
  testAny("describe-main-of-server", async (t) => eq(await t.main.describe(t.main.dup()), { t: "stub" }));
  testAny("describe-call-result", async (t) => eq(await t.main.describe(t.main.square(3)), { t: "num", v: 9 }));
  testAny("describe-nested-call-result", async (t) => {
    eq(await t.main.describe({ a: [t.main.square(3)] }), { t: "obj", v: [["a", { t: "arr", v: [{ t: "num", v: 9 }] }]] });
  });
  test("describe-readable", async (t) => {
    eq(await t.main.describe(new ReadableStream()), { t: "readable" });
  });
  test("describe-writable", async (t) => {
    eq(await t.main.describe(new WritableStream()), { t: "writable" });
  });
  test("describe-mixed", async (t) => {
    eq(await t.main.describe({ d: new Date(5), b: new Uint8Array([1]), u: undefined, f: () => 0, n: [null, -0] }), {
      t: "obj",
      v: [
        ["d", { t: "date", v: 5 }],
        ["b", { t: "bytes", kind: "Uint8Array", hex: "01" }],
        ["u", { t: "undef" }],
        ["f", { t: "stub" }],
        ["n", { t: "arr", v: [{ t: "null" }, { t: "num", v: 0 }] }],
      ],
    });
  });
  test("describe-date-beyond-range", async (t) => {
    eq(await t.main.describe([new Date(8.64e15), new Date(-8.64e15)]), {
      t: "arr", v: [{ t: "date", v: 8.64e15 }, { t: "date", v: -8.64e15 }],
    });
  });
  test("describe-view-into-larger-buffer", async (t) => {
    const buffer = new Uint8Array([9, 1, 0, 2, 0, 9, 9, 9]).buffer;
    eq(await t.main.describe([new Uint8Array(buffer, 1, 2), new DataView(buffer, 5, 2)]), {
      t: "arr",
      v: [{ t: "bytes", kind: "Uint8Array", hex: "0100" }, { t: "bytes", kind: "DataView", hex: "0909" }],
    });
  });
  test("describe-dropped-keys", async (t) => {
    const v = JSON.parse('{"__proto__":{"x":1},"toJSON":1,"constructor":2,"hasOwnProperty":3,"then":4,"kept":5}');
    eq(await t.main.describe(v), { t: "obj", v: [["then", { t: "num", v: 4 }], ["kept", { t: "num", v: 5 }]] });
  });
  test("describe-request-with-options", async (t) => {
    const r = new Request("http://example.com/x", { method: "DELETE", headers: [["b", "2"], ["A", "1"]], redirect: "manual" });
    eq(await t.main.describe(r), {
      t: "request", url: "http://example.com/x", method: "DELETE", headers: [["a", "1"], ["b", "2"]], body: null,
    });
  });
  test("describe-response-200", async (t) => {
    eq(await t.main.describe(new Response(null)), { t: "response", status: 200, statusText: "", headers: [], body: null });
  });
  test("describe-blob-in-object", async (t) => {
    eq(await t.main.describe({ b: new Blob(["x"], { type: "a/b" }), n: 1 }), {
      t: "obj", v: [["b", { t: "blob", type: "a/b", hex: "78" }], ["n", { t: "num", v: 1 }]],
    });
  });

  testAny("arg-count", async (t) => {
    eq(await Promise.all([t.main.argCount(), t.main.argCount(undefined), t.main.argCount(1, null, [2, 3])]), [0, 1, 3]);
  });
  testAny("str-length-surrogates", async (t) => eq(await t.main.strLength("a\u{1F600}\u00e9"), 4));
  testAny("str-length-3000000", async (t) => eq(await t.main.strLength("x".repeat(3_000_000)), 3_000_000));
  testAny("big-string-2000000", async (t) => eq((await t.main.bigString(2_000_000)).length, 2_000_000));
  testAny("byte-length", async (t) => eq(await t.main.byteLength(new Uint8Array(70_000)), 70_000));
  testAny("bytes-all-values", async (t) => {
    const all = new Uint8Array(256).map((_, i) => i);
    eq([...(await t.main.echo(all))], [...all]);
  });
  testAny("echo-many-members", async (t) => {
    const v = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`k${i}`, i]));
    eq(await t.main.echo(v), v);
  });
  testAny("echo-doubles", async (t) => {
    const v = [0.1, 1 / 3, 1e21, 1.7976931348623157e308, 2.2250738585072014e-308, 123456789012345680000, -1e-7];
    eq(await t.main.echo(v), v);
  });
  testAny("echo-bigint-100-digits", async (t) => {
    const v = BigInt("-" + "9".repeat(100));
    eq(await t.main.echo(v), v);
  });
  testAny("echo-unicode-keys", async (t) => eq(await t.main.echo({ "\u00e9\u{1F600}": 1, "": 2, "a.b": 3 }), { "\u00e9\u{1F600}": 1, "": 2, "a.b": 3 }));
  testAny("echo-control-characters", async (t) => {
    const v = Array.from({ length: 0x30 }, (_, i) => String.fromCharCode(i)).join("") + "\u007f\u2028\u2029\ufeff\uffff";
    eq(await t.main.echo(v), v);
  });
  testAny("echo-key-order", async (t) => {
    eq(Object.keys(await t.main.echo({ z: 1, a: 2, m: 3, B: 4 })), ["z", "a", "m", "B"]);
  });
  test("echo-nested-200", async (t) => {
    let v = 1;
    for (let i = 0; i < 200; i++) v = [v];
    eq(await t.main.echo(v), v);
  });
  test("too-deep-to-receive", async (t) => {
    let v = 1;
    for (let i = 0; i < 254; i++) v = [v];
    // The sender lets this through, and so does the receiver: the list of arguments is level 0.
    eq(await t.main.echo(v), v);
  });
  testAny("list", async (t) => {
    eq(await t.main.list(), [{ id: 1, name: "a" }, { id: 2, name: "b" }, { id: 3, name: "c" }]);
  });
  testAny("not-serializable-argument", async (t) => {
    let thrown;
    try {
      t.main.echo(new Map());
    } catch (e) {
      thrown = e;
    }
    eq(thrown?.message, "Cannot serialize value: [object Map]");
    eq(await t.main.square(2), 4);
  });
  test("echo-blob", async (t) => {
    const b = await t.main.echoBlob(new Blob(["hello blob"], { type: "text/plain" }));
    eq([b.type, await b.text()], ["text/plain", "hello blob"]);
  });
  test("echo-blob-empty", async (t) => {
    const b = await t.main.echoBlob(new Blob([]));
    eq([b.type, b.size], ["", 0]);
  });
  test("echo-blob-large", async (t) => {
    const bytes = new Uint8Array(600_000).map((_, i) => (i * 7) & 255);
    const b = await t.main.echoBlob(new Blob([bytes], { type: "application/x-test" }));
    eq([b.type, Buffer.from(await b.arrayBuffer()).equals(Buffer.from(bytes))], ["application/x-test", true]);
  });
  test("echo-blobs-concurrent", async (t) => {
    const texts = await Promise.all(
      Array.from({ length: 5 }, async (_, i) => (await t.main.echoBlob(new Blob([`blob ${i}`]))).text()),
    );
    eq(texts, ["blob 0", "blob 1", "blob 2", "blob 3", "blob 4"]);
  });
}
