// Maps, sessions as a whole, their limits, and batches.
export default function ({ lib, test, testAny, eq, outcome, tag, error }) {
  testAny("map", async (t) => eq(await t.main.generateFibonacci(6).map((i) => t.main.square(i)), [0, 1, 1, 4, 9, 25]));
  testAny("map-object", async (t) => {
    eq(await t.main.list().map((x) => ({ n: x.name, k: 1 })), [{ n: "a", k: 1 }, { n: "b", k: 1 }, { n: "c", k: 1 }]);
  });
  testAny("map-nested", async (t) => {
    const pairs = t.main.generateFibonacci(3).map((i) => t.main.generateFibonacci(2).map((j) => ({ i, j })));
    eq(await pairs, [0, 1, 1].map((i) => [0, 1].map((j) => ({ i, j }))));
  });
  testAny("map-null", async (t) => eq(await t.main.returnNull().map((i) => t.main.square(i)), null));
  testAny("map-single", async (t) => eq(await t.main.returnNumber(7).map((i) => t.main.square(i)), 49));
  testAny("map-counter", async (t) => eq(await t.main.listCounters(3).map((c) => c.increment(10)), [10, 11, 12]));
  testAny("map-callback", async (t) => {
    using fn = new lib.RpcStub((x) => x * 10);
    eq(await t.main.generateFibonacci(4).map((i) => fn(i)), [0, 10, 10, 20]);
  });
  testAny("map-error", async (t) => {
    eq(await outcome(t.main.generateFibonacci(2).map(() => t.main.throwError())), error("RangeError", "test error"));
  });
  testAny("client-main", async (t) => {
    class Main extends lib.RpcTarget {
      echo(x) { return x; }
      fail() { throw new RangeError("client says no"); }
    }
    const { main } = t.connect({ main: new Main() });
    eq(await main.callClientMain("echo", ["hi"]), "hi");
    eq(await outcome(main.callClientMain("fail", [])), error("RangeError", "client says no"));
  });
  testAny("no-main", async (t) => {
    const { main } = t.connect({ path: "/ws-nomain" });
    eq(await outcome(main.square(1)), error("Error", "This connection has no main object."));
  });
  test("shutdown", async (t) => {
    const { main, closed } = t.connect();
    eq(await main.shutdown(), "bye");
    eq(await closed, { code: 3000, reason: "RPC session was shut down by disposing the main stub" });
  });
  test("dispose-main", async (t) => {
    const { main, closed, dispose } = t.connect();
    await main.square(1);
    dispose();
    eq((await closed).code, 3000);
  });
  test("stats-return", async (t) => {
    const before = await t.main.stats();
    for (let i = 0; i < 20; i++) await t.main.square(i);
    using object = await t.main.getObject();
    await object.nested.fn(1);
    object[Symbol.dispose]();
    await outcome(t.main.throwError());
    await t.main.callFunction((x) => x, 1);
    await t.until(() => t.main.stats(), before);
  });
  for (const [name, call, message] of [
    ["bigint", (main) => main.describe(123456789n), "Deserialized bigint exceeds maximum length of 8 digits."],
    ["depth", (main) => main.describe([[[[[[[[1]]]]]]]]), "Deserialization exceeded maximum allowed message depth of 8."],
    ["size", (main) => main.strLength("x".repeat(2001)), "Incoming message exceeds maximum size of 2000 UTF-16 code units."],
  ]) {
    test(`limit-${name}`, async (t) => {
      const { main, closed } = t.connect({ path: "/ws-limits" });
      eq(await main.describe(1), { t: "num", v: 1 });
      eq(await outcome(call(main)), error("TypeError", message));
      eq(await closed, { code: 3000, reason: message });
    });
  }
  test("limits-leave-room", async (t) => {
    const { main } = t.connect({ path: "/ws-limits" });
    eq([await main.describe(12345678n), await main.strLength("x".repeat(1900))], [{ t: "bigint", v: "12345678" }, 1900]);
  });
  test("rewrite", async (t) => {
    const { main } = t.connect({ path: "/ws-rewrite" });
    const e = await main.throwError().catch((e) => e);
    eq([e.name, e.message, e.code, e.stack.includes("test stack")], ["TypeError", "rewritten: test error", "E_REWRITTEN", true]);
    const value = await main.makeErrorValue("cause");
    eq([value.message, value.code], ["rewritten: outer", "E_REWRITTEN"]);
  });
  testAny("batch", async (t) => {
    const main = t.batch();
    const counter = main.makeCounter(2);
    eq(await Promise.all([main.square(6), counter.increment(3), main.incrementCounter(counter, 4)]), [36, 5, 9]);
  });
  testAny("batch-error", async (t) => {
    const main = t.batch();
    eq(await Promise.all([outcome(main.throwError()), main.square(2)]), [error("RangeError", "test error"), 4]);
  });
  testAny("batch-stats-are-null", async (t) => eq(await t.batch().stats(), null));
  testAny("batch-answers-promises", async (t) => eq(await t.batch().embeddedSlow(20, "v"), { before: 1, slow: "v", after: 2 }));
  const post = async (t, body, method = "POST") => {
    const response = await fetch(t.httpUrl(), method === "POST" ? { method, body } : { method });
    return { status: response.status, origin: response.headers.get("access-control-allow-origin"), body: await response.text() };
  };
  test("batch-raw", async (t) => {
    const body = '["push",["pipeline",0,["square"],[6]]]\n["pull",1]';
    eq(await post(t, body), { status: 200, origin: "*", body: '["resolve",1,36]' });
    eq(await post(t, body.replace("\n", "\r\n")), { status: 200, origin: "*", body: '["resolve",1,36]' });
    eq(await post(t, ""), { status: 200, origin: "*", body: "" });
  });
  test("batch-refused", async (t) => {
    eq((await post(t, '["pull",1]\n')).status >= 400, true);
    eq((await post(t, '["push",1]\n')).status >= 400, true);
    eq((await post(t, "nonsense")).status >= 400, true);
    eq((await post(t, "", "GET")).status, 405);
  });
  test("plain-get", async (t) => {
    eq((await fetch(t.httpUrl("/ws"))).status, 400);
    eq((await fetch(t.httpUrl("/nowhere"))).status, 404);
  });
}
