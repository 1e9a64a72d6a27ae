// Time and order.
export default function ({ test, testAny, eq, outcome, error, lib }) {
  testAny("delay", async (t) => eq(await t.main.delay(5, "v"), "v"));
  testAny("delay-answers-out-of-order", async (t) => {
    const done = [];
    const slow = t.main.delay(60, "slow").then((v) => done.push(v));
    const fast = t.main.delay(1, "fast").then((v) => done.push(v));
    await Promise.all([slow, fast]);
    eq(done, ["fast", "slow"]);
  });
  testAny("never-does-not-block", async (t) => {
    const never = t.main.never();
    never.then(() => {}, () => {});
    eq(await t.main.square(2), 4);
  });
  testAny("record-in-order", async (t) => {
    const n = Array.from({ length: 50 }, (_, i) => i);
    eq(await Promise.all(n.map((i) => t.main.record(i))), n);
    eq(await t.main.getLog(), n);
  });
  testAny("record-then-log-without-await", async (t) => {
    t.main.record("x").then(() => {});
    eq(await t.main.getLog(), ["x"]);
  });
  testAny("record-never-awaited", async (t) => {
    const p = t.main.record("x");
    eq(await t.main.getLog(), ["x"]);
    p[Symbol.dispose]();
    eq(await t.main.getLog(), ["x"]);
  });
  testAny("clear-log", async (t) => {
    await t.main.record(1);
    await t.main.clearLog();
    eq(await t.main.getLog(), []);
  });
  testAny("log-is-per-session", async (t) => {
    await t.main.record("first");
    eq(await t.connect().main.getLog(), []);
  });
  testAny("record-with-slow-argument-is-overtaken", async (t) => {
    const slow = t.main.recordWith("slow", t.main.delay(40, 0));
    const fast = t.main.record("fast");
    await Promise.all([slow, fast]);
    eq(await t.main.getLog(), ["fast", "slow"]);
  });
  testAny("record-with-failed-argument-is-not-run", async (t) => {
    eq(await outcome(t.main.recordWith("x", t.main.failLater(5))), error("Error", "failed later"));
    eq(await t.main.getLog(), []);
  });
  testAny("recorder-both-in-order", async (t) => {
    const r = t.main.makeRecorder();
    const all = [];
    for (let i = 0; i < 10; i++) all.push(i % 2 ? r.a(i) : r.b(i));
    eq(await Promise.all(all), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    eq(await t.main.getLog(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
  testAny("recorder-of-awaited-result", async (t) => {
    const { a, b } = await t.main.makeRecorder();
    await Promise.all([a(1), b(2), a(3)]);
    eq(await t.main.getLog(), [1, 2, 3]);
  });
  testAny("calls-on-unsettled-then-settled-in-order", async (t) => {
    const p = t.main.makeDelayedCounter(10, 0);
    const early = [p.increment(), p.increment()];
    const c = await p;
    const late = [c.increment(), p.increment()];
    eq(await Promise.all([...early, ...late]), [1, 2, 3, 4]);
  });
  testAny("callbacks-in-order", async (t) => {
    const got = [];
    await t.main.subscribe((v) => { got.push(v); });
    await Promise.all([1, 2, 3, 4].map((v) => t.main.emit(v)));
    eq(got, [1, 2, 3, 4]);
  });
  testAny("callback-runs-before-the-answer", async (t) => {
    const got = [];
    await t.main.callMany((i) => { got.push(i); }, 3);
    eq(got, [0, 1, 2]);
  });
  testAny("many-calls-at-once", async (t) => {
    const n = Array.from({ length: 1000 }, (_, i) => i);
    eq(await Promise.all(n.map((i) => t.main.returnNumber(i))), n);
  });
  testAny("many-pending-at-once", async (t) => {
    const n = Array.from({ length: 300 }, (_, i) => i);
    eq(await Promise.all(n.map((i) => t.main.delay(10, i))), n);
  });
  testAny("two-sessions-at-once", async (t) => {
    const [a, b] = [t.connect().main, t.connect().main];
    eq(await Promise.all([a.record("a"), b.record("b")]), ["a", "b"]);
    eq([await a.getLog(), await b.getLog()], [["a"], ["b"]]);
  });

  testAny("embedded-slow", async (t) => eq(await t.main.embeddedSlow(30, "v"), { before: 1, slow: "v", after: 2 }));
  testAny("embedded-slow-member-order", async (t) => {
    eq(Object.keys(await t.main.embeddedSlow(5, "v")), ["before", "slow", "after"]);
  });
  testAny("embedded-slow-pipelined-member", async (t) => {
    const p = t.main.embeddedSlow(30, "v");
    eq([await p.before, await p.slow], [1, "v"]);
  });
  testAny("embedded-fail", async (t) => eq(await outcome(t.main.embeddedFail(10)), error("Error", "embedded failed")));
  testAny("embedded-fail-pipelined-member", async (t) => {
    eq(await outcome(t.main.embeddedFail(10).bad), error("Error", "embedded failed"));
  });
  testAny("embedded-from-peer", async (t) => {
    class Source extends lib.RpcTarget {
      async get() {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return "from the client";
      }
    }
    eq(await t.main.embeddedFromPeer(new Source(), "get"), { p: "from the client" });
  });
  testAny("embedded-from-peer-failing", async (t) => {
    class Source extends lib.RpcTarget {
      get() {
        throw new RangeError("not today");
      }
    }
    eq(await outcome(t.main.embeddedFromPeer(new Source(), "get")), error("RangeError", "not today"));
  });
  testAny("embedded-from-peer-of-server", async (t) => {
    eq(await t.main.embeddedFromPeer(await t.main.makeCounter(2), "increment"), { p: 3 });
  });
}
