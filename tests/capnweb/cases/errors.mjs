// Errors thrown, rejected, returned and sent.
import { ERRORS } from "../values.mjs";

const num = (v) => ({ t: "num", v });
const str = (v) => ({ t: "str", v });
const err = (name, message) => ({ t: "err", name, message, props: [] });

// kind → [name, message, props]
const KINDS = {
  error: ["Error", "plain"],
  type: ["TypeError", "bad type"],
  range: ["RangeError", "bad range"],
  syntax: ["SyntaxError", "bad syntax"],
  reference: ["ReferenceError", "bad ref"],
  uri: ["URIError", "bad uri"],
  eval: ["EvalError", "bad eval"],
  custom: ["Error", "custom"],
  props: ["RangeError", "rich", [
    ["code", str("E_RICH")],
    ["details", { t: "obj", v: [["reason", str("because")], ["count", num(7)]] }],
    ["when", { t: "date", v: 1234 }],
  ]],
  cause: ["Error", "outer", [["cause", err("TypeError", "inner")]]],
  aggregate: ["AggregateError", "agg", [
    ["errors", { t: "arr", v: [err("TypeError", "a"), err("RangeError", "b")] }],
  ]],
};

const THROWN = {
  string: str("just a string"),
  null: { t: "null" },
  number: num(7),
  object: { t: "obj", v: [["code", num(5)]] },
  undefined: { t: "undef" },
};

// 0.5 sends and reads name and message only.
const PLAIN = new Set(["error", "type", "range", "syntax", "reference", "uri", "eval", "custom"]);

export default function ({ test, testAny, eq, tag, outcome, error, lib }) {
  for (const [kind, expected] of Object.entries(KINDS)) {
    const add = PLAIN.has(kind) ? testAny : test;
    add(`throw-${kind}`, async (t) => eq(await outcome(t.main.throwKind(kind)), error(...expected)));
    add(`reject-${kind}`, async (t) => eq(await outcome(t.main.rejectKind(kind)), error(...expected)));
    const returned = { t: "err", name: expected[0], message: expected[1], props: expected[2] ?? [] };
    add(`return-error-${kind}`, async (t) => eq(await tag(await t.main.makeErrorValue(kind)), returned));
    add(`describe-error-${kind}`, async (t) => eq(await t.main.describe(ERRORS[kind]()), returned));
  }
  for (const [kind, expected] of Object.entries(THROWN)) {
    testAny(`throw-${kind}`, async (t) => eq(await outcome(t.main.throwKind(kind)), { thrown: expected }));
  }
  test("throw-stubprop-drops-the-stub", async (t) => {
    eq(await outcome(t.main.throwKind("stubprop")), error("Error", "with-stub", [["code", str("E_STUB")]]));
  });
  test("reject-stubprop-drops-the-stub", async (t) => {
    eq(await outcome(t.main.rejectKind("stubprop")), error("Error", "with-stub", [["code", str("E_STUB")]]));
  });
  test("return-error-stubprop", async (t) => {
    const e = await t.main.makeErrorValue("stubprop");
    eq(await tag(e), {
      t: "err", name: "Error", message: "with-stub", props: [["code", str("E_STUB")], ["counter", { t: "stub" }]],
    });
    const before = await e.counter.value;
    eq(await e.counter.increment(3), before + 3);
    e[Symbol.dispose]();
    eq(await t.main.square(2), 4);
  });
  testAny("error-has-no-stack-of-the-server", async (t) => {
    const e = await t.main.throwKind("error").catch((e) => e);
    eq(/server|Main\.throwKind/.test(e.stack), false);
  });
  testAny("test-error", async (t) => eq(await outcome(t.main.throwError()), error("RangeError", "test error")));
  testAny("fail-later", async (t) => eq(await outcome(t.main.failLater(5)), error("Error", "failed later")));
  testAny("throw-unknown-kind", async (t) => eq((await outcome(t.main.throwKind("no such kind"))).name, "Error"));
  testAny("session-survives-errors", async (t) => {
    await Promise.all(["error", "string", "undefined"].map((k) => outcome(t.main.throwKind(k))));
    eq(await t.main.square(3), 9);
  });
  testAny("pipeline-on-failed-call", async (t) => {
    const failed = t.main.throwError();
    eq(await outcome(failed.foo()), error("RangeError", "test error"));
    eq(await outcome(failed.some.property), error("RangeError", "test error"));
    eq(await outcome(t.main.square(failed)), error("RangeError", "test error"));
    eq(await outcome(failed), error("RangeError", "test error"));
  });
  testAny("pipeline-on-call-failing-later", async (t) => {
    const failed = t.main.failLater(15);
    const all = await Promise.all([outcome(failed.a()), outcome(failed.b.c), outcome(t.main.describe([failed]))]);
    eq(all, [1, 2, 3].map(() => error("Error", "failed later")));
  });
  test("describe-error-stack-is-not-a-property", async (t) => {
    eq(await t.main.describe(Object.assign(new Error("m"), { stack: "s", extra: 1 })), {
      t: "err", name: "Error", message: "m", props: [["extra", num(1)]],
    });
  });
  test("describe-error-nested-causes", async (t) => {
    const e = new Error("1", { cause: new TypeError("2", { cause: "text" }) });
    eq(await t.main.describe(e), {
      t: "err", name: "Error", message: "1",
      props: [["cause", { t: "err", name: "TypeError", message: "2", props: [["cause", str("text")]] }]],
    });
  });
  test("describe-error-unserializable-property", async (t) => {
    const e = Object.assign(new Error("m"), { bad: new Map(), good: 1, mixed: { fn: () => 1, bad: Symbol("s") } });
    eq(await t.main.describe(e), { t: "err", name: "Error", message: "m", props: [["good", num(1)]] });
  });
  test("describe-error-dropped-property-names", async (t) => {
    const e = new Error("m");
    for (const key of ["toJSON", "constructor", "__proto__", "kept"]) {
      Object.defineProperty(e, key, { value: 1, enumerable: true });
    }
    eq(await t.main.describe(e), { t: "err", name: "Error", message: "m", props: [["kept", num(1)]] });
  });
  test("describe-error-empty-message", async (t) => {
    eq(await t.main.describe(new Error()), { t: "err", name: "Error", message: "", props: [] });
  });
  testAny("describe-error-unknown-name", async (t) => {
    eq(await t.main.describe(Object.assign(new Error("m"), { name: "constructor" })), err("Error", "m"));
  });
  test("echo-error", async (t) => {
    eq(await tag(await t.main.echo(ERRORS.props())), {
      t: "err", name: "RangeError", message: "rich", props: KINDS.props[2],
    });
  });
  testAny("catch-from-nothing", async (t) => eq(await t.main.catchFrom(() => 1), { caught: false }));
  testAny("catch-from-error", async (t) => {
    eq(await t.main.catchFrom(() => { throw new RangeError("cb"); }), {
      caught: true, name: "RangeError", message: "cb", code: null,
    });
  });
  test("catch-from-error-with-code", async (t) => {
    eq(await t.main.catchFrom(() => { throw Object.assign(new RangeError("cb"), { code: "E_CB" }); }), {
      caught: true, name: "RangeError", message: "cb", code: "E_CB",
    });
  });
  testAny("catch-from-rejection", async (t) => {
    eq(await t.main.catchFrom(async () => { throw new TypeError("async cb"); }), {
      caught: true, name: "TypeError", message: "async cb", code: null,
    });
  });
  testAny("catch-from-non-error", async (t) => {
    eq(await t.main.catchFrom(() => { throw "text"; }), { caught: true, thrown: str("text") });
    eq(await t.main.catchFrom(() => { throw undefined; }), { caught: true, thrown: { t: "undef" } });
    eq(await t.main.catchFrom(() => { throw null; }), { caught: true, thrown: { t: "null" } });
  });
  test("catch-from-unserializable-result", async (t) => {
    eq(await t.main.catchFrom(() => new Map()), {
      caught: true, name: "TypeError", message: "Cannot serialize value: [object Map]", code: null,
    });
  });
}
