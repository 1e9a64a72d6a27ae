// Calls, properties, pipelining, callbacks.
export default function ({ test, testAny, eq, tag, outcome, error, lib }) {
  const { RpcStub, RpcTarget } = lib;

  class Counter extends RpcTarget {
    #value;
    constructor(value) {
      super();
      this.#value = value;
    }
    increment(amount = 1) {
      return (this.#value += amount);
    }
    get value() {
      return this.#value;
    }
    fail() {
      throw new TypeError("counter broke");
    }
  }

  testAny("square", async (t) => eq(await t.main.square(5), 25));
  testAny("call-square", async (t) => eq(await t.main.callSquare(t.main.dup(), 4), { result: 16 }));
  testAny("call-function", async (t) => eq(await t.main.callFunction((x) => 3 * x, 5), { result: 15 }));
  testAny("call-function-async", async (t) => eq(await t.main.callFunction(async (x) => x + 1, 5), { result: 6 }));
  testAny("call-function-error", async (t) => {
    eq(await outcome(t.main.callFunction(() => { throw new RangeError("no"); }, 5)), error("RangeError", "no"));
  });
  testAny("call-function-of-server", async (t) => {
    eq(await t.main.callFunction(await t.main.makeFunction(), 5), { result: 6 });
  });
  testAny("call-function-pipelined", async (t) => eq(await t.main.callFunction(t.main.makeFunction(), 5), { result: 6 }));
  testAny("call-function-bound-method", async (t) => eq(await t.main.callFunction(t.main.square, 5), { result: 25 }));
  testAny("call-function-not-a-function", async (t) => {
    eq((await outcome(t.main.callFunction(5, 5))).name, "TypeError");
  });
  testAny("make-counter", async (t) => {
    const c = await t.main.makeCounter(4);
    eq([await c.increment(), await c.increment(4), await c.value], [5, 9, 9]);
  });
  testAny("increment-counter-of-server", async (t) => {
    const c = await t.main.makeCounter(1);
    eq([await t.main.incrementCounter(c, 5), await t.main.incrementCounter(c), await c.value], [6, 7, 7]);
  });
  testAny("increment-counter-of-client", async (t) => {
    const c = new Counter(4);
    eq([await t.main.incrementCounter(c, 9), c.value], [13, 13]);
  });
  testAny("increment-counter-default", async (t) => eq(await t.main.incrementCounter(new Counter(4)), 5));
  testAny("increment-counter-undefined", async (t) => eq(await t.main.incrementCounter(new Counter(4), undefined), 5));
  testAny("increment-counter-error", async (t) => {
    eq(await outcome(t.main.callMethod(new Counter(1), "fail", [])), error("TypeError", "counter broke"));
  });
  testAny("generate-fibonacci", async (t) => eq(await t.main.generateFibonacci(8), [0, 1, 1, 2, 3, 5, 8, 13]));
  testAny("generate-fibonacci-0", async (t) => eq(await t.main.generateFibonacci(0), []));
  testAny("return-null", async (t) => eq(await t.main.returnNull(), null));
  testAny("return-undefined", async (t) => eq(await t.main.returnUndefined(), undefined));
  testAny("return-number", async (t) => eq(await t.main.returnNumber(1.25), 1.25));

  testAny("property-version", async (t) => eq(await t.main.version, "capnweb-testserver/1"));
  testAny("property-nested-name", async (t) => eq(await t.main.nested.name, "nested"));
  testAny("property-nested-self-name", async (t) => eq(await t.main.nested.self.name, "nested"));
  testAny("property-nested-self-self-greet", async (t) => eq(await t.main.nested.self.self.greet("you"), "hello you"));
  testAny("property-nested-stub", async (t) => {
    const nested = await t.main.nested;
    eq([await tag(nested), await nested.name, await nested.greet("me")], [{ t: "stub" }, "nested", "hello me"]);
  });
  testAny("property-unknown", async (t) => eq(await t.main.nope, undefined));
  testAny("property-unknown-of-nested", async (t) => eq(await t.main.nested.nope, undefined));
  testAny("property-of-unknown", async (t) => eq((await outcome(t.main.nope.deeper)).name, "TypeError"));
  testAny("property-method-is-a-stub", async (t) => {
    const square = await t.main.square;
    eq([await tag(square), await square(6)], [{ t: "stub" }, 36]);
  });
  testAny("property-bound-method-of-counter", async (t) => {
    const c = await t.main.makeCounter(10);
    const increment = await c.increment;
    eq([await increment(5), await c.value], [15, 15]);
  });
  testAny("property-of-string", async (t) => eq(await t.main.version.foo, undefined));
  testAny("property-of-null", async (t) => eq(await t.main.returnNull().foo, undefined));
  testAny("property-of-undefined", async (t) => eq((await outcome(t.main.returnUndefined().foo)).name, "TypeError"));
  testAny("property-of-pending", async (t) => eq(await t.main.delay(15, { a: { b: 7 } }).a.b, 7));
  testAny("index-of-array-by-name", async (t) => eq(await t.main.generateFibonacci(3)[1], undefined));

  testAny("unknown-method", async (t) => {
    eq(await outcome(t.main.noSuch()), error("TypeError", "'noSuch' is not a function."));
  });
  testAny("unknown-method-path", async (t) => {
    eq(await outcome(t.main.nested.self.noSuch(1)), error("TypeError", "'nested.self.noSuch' is not a function."));
  });
  testAny("unknown-method-of-stub", async (t) => {
    const c = await t.main.makeCounter(1);
    eq(await outcome(c.noSuch()), error("TypeError", "'noSuch' is not a function."));
  });
  testAny("not-callable-member", async (t) => {
    eq(await outcome(t.main.makeNotCallable().f()), error("TypeError", "'f' is not a function."));
  });
  testAny("not-callable-result", async (t) => {
    eq(await outcome(t.main.square(2)()), error("TypeError", "'' is not a function."));
  });
  testAny("not-callable-object-stub", async (t) => {
    const c = await t.main.makeCounter(1);
    eq(await outcome(c()), error("TypeError", "'' is not a function."));
  });
  testAny("not-callable-property", async (t) => {
    eq(await outcome(t.main.version()), error("TypeError", "'version' is not a function."));
  });

  testAny("pipeline-method", async (t) => {
    const c = t.main.makeCounter(4);
    eq(await Promise.all([c.increment(), c.increment(4)]), [5, 9]);
  });
  testAny("pipeline-argument", async (t) => eq(await t.main.square(t.main.square(2)), 16));
  testAny("pipeline-argument-in-object", async (t) => {
    eq(await t.main.echo({ a: t.main.square(2), b: [t.main.square(3)] }), { a: 4, b: [9] });
  });
  testAny("pipeline-argument-property", async (t) => {
    eq(await t.main.square(t.main.echo({ n: { m: 3 } }).n.m), 9);
  });
  testAny("pipeline-deep", async (t) => {
    const o = t.main.getObject();
    eq(await Promise.all([o.nested.fn(1), o.n, o.nested.counter.increment(2)]), [2, 5, 102]);
  });
  testAny("pipeline-function-result", async (t) => eq(await t.main.makeFunction()(41), 42));
  testAny("pipeline-chain", async (t) => {
    let p = t.main.returnNumber(1);
    for (let i = 0; i < 30; i++) p = t.main.makeFunction()(p);
    eq(await p, 31);
  });
  testAny("pipeline-on-slow-call", async (t) => {
    const c = t.main.makeDelayedCounter(20, 7);
    eq(await Promise.all([c.increment(1), c.increment(1), c.value]), [8, 9, 9]);
  });
  testAny("pipeline-same-promise-twice", async (t) => {
    const n = t.main.returnNumber(3);
    eq(await t.main.describe(n, n), { t: "arr", v: [{ t: "num", v: 3 }, { t: "num", v: 3 }] });
  });
  testAny("await-twice", async (t) => {
    const p = t.main.square(4);
    eq([await p, await p], [16, 16]);
  });
  testAny("argument-stub-in-pipelined-object", async (t) => {
    const c = t.main.makeCounter(5);
    eq([await t.main.incrementCounter(c, 2), await t.main.readProperty(c, "value")], [7, 7]);
  });

  testAny("get-object", async (t) => {
    const o = await t.main.getObject();
    eq(Object.keys(o), ["n", "s", "arr", "nul", "undef", "nested"]);
    eq([o.n, o.s, o.arr, o.nul, o.undef], [5, "str", [10, 20, [30]], null, undefined]);
    eq([await o.nested.fn(1), await o.nested.counter.increment(5)], [2, 105]);
  });
  testAny("get-object-arr-property", async (t) => eq(await t.main.getObject().arr, [10, 20, [30]]));
  testAny("get-object-undef-property", async (t) => eq(await t.main.getObject().undef, undefined));
  testAny("list-counters", async (t) => {
    const list = await t.main.listCounters(3);
    eq(await Promise.all(list.map((c) => c.increment(10))), [10, 11, 12]);
  });

  testAny("callback-arguments", async (t) => {
    const got = [];
    eq(await t.main.callMany((...args) => { got.push(args); return args[0] * 10; }, 3), [0, 10, 20]);
    eq(got, [[0], [1], [2]]);
  });
  testAny("callback-concurrent", async (t) => {
    const f = (i) => new Promise((resolve) => setTimeout(() => resolve(i), 5));
    eq(await t.main.callConcurrent(f, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
  });
  testAny("callback-concurrent-all-started", async (t) => {
    let started = 0;
    let letGo;
    const gate = new Promise((resolve) => (letGo = resolve));
    const f = async (i) => {
      if (++started === 5) letGo();
      await gate;
      return -i;
    };
    eq((await t.main.callConcurrent(f, 5)).map(Math.abs), [0, 1, 2, 3, 4]);
  });
  testAny("callback-no-await", async (t) => {
    const got = [];
    let all;
    const done = new Promise((resolve) => (all = resolve));
    const f = (i) => {
      got.push(i);
      if (got.length === 6) all();
    };
    eq(await t.main.callNoAwait(f, 6), "sent");
    await done;
    eq(got, [0, 1, 2, 3, 4, 5]);
  });
  testAny("callback-returns-object-with-stub", async (t) => {
    const r = await t.main.callFunction(() => ({ c: new Counter(5) }), 0);
    eq(await r.result.c.increment(2), 7);
  });
  testAny("callback-into-server", async (t) => {
    eq(await t.main.callFunction(async (i) => await t.main.square(i), 6), { result: 36 });
  });
  testAny("callback-returns-promise-of-server", async (t) => {
    eq(await t.main.callFunction((i) => t.main.square(i), 6), { result: 36 });
  });
  testAny("callback-nested", async (t) => {
    const f = async (i) => (i === 0 ? 0 : (await t.main.callFunction(f, i - 1)).result + i);
    eq(await t.main.callFunction(f, 4), { result: 10 });
  });
  testAny("callback-in-object", async (t) => {
    eq(await t.main.callMethod({ go: (a, b) => a - b }, "go", [7, 2]), 5);
  });
  testAny("call-method-of-client", async (t) => eq(await t.main.callMethod(new Counter(1), "increment", [4]), 5));
  testAny("call-method-result-stub", async (t) => {
    class Maker extends RpcTarget {
      make(n) {
        return new Counter(n);
      }
    }
    const c = await t.main.callMethod(new Maker(), "make", [5]).value;
    eq(c, 5);
  });
  testAny("call-method-unknown", async (t) => {
    eq(await outcome(t.main.callMethod(new Counter(1), "noSuch", [])), error("TypeError", "'noSuch' is not a function."));
  });
  testAny("call-method-pipelined", async (t) => {
    eq(await t.main.callMethodPipelined(new Counter(1), "increment", [4]), 5);
  });
  testAny("call-method-pipelined-error", async (t) => {
    eq(await outcome(t.main.callMethodPipelined(new Counter(1), "fail", [])), error("TypeError", "counter broke"));
  });
  testAny("call-method-pipelined-of-server", async (t) => {
    eq(await t.main.callMethodPipelined(await t.main.makeCounter(1), "increment", [4]), 5);
  });
  testAny("read-property-of-client", async (t) => eq(await t.main.readProperty(new Counter(77), "value"), 77));
  testAny("read-property-unknown", async (t) => eq(await t.main.readProperty(new Counter(77), "nope"), undefined));
  testAny("read-property-of-server", async (t) => {
    eq(await t.main.readProperty(await t.main.makeCounter(8), "value"), 8);
  });
  testAny("client-object-in-stub", async (t) => {
    const stub = new RpcStub(new Counter(1));
    eq([await t.main.incrementCounter(stub, 1), await t.main.incrementCounter(stub, 1), await stub.value], [2, 3, 3]);
  });
  test("promise-argument-of-client", async (t) => {
    const p = new lib.RpcPromise(new Promise((resolve) => setTimeout(() => resolve(6), 20)));
    eq(await t.main.square(p), 36);
  });
  test("promise-argument-of-client-rejected", async (t) => {
    const p = new lib.RpcPromise(new Promise((_, reject) => setTimeout(() => reject(new TypeError("late")), 10)));
    eq(await outcome(t.main.square(p)), error("TypeError", "late"));
  });
  test("promise-argument-of-promise", async (t) => {
    const p = new lib.RpcPromise((async () => ({ v: new lib.RpcPromise(Promise.resolve(5)) }))());
    eq(await t.main.describe(p), { t: "obj", v: [["v", { t: "num", v: 5 }]] });
  });
  test("promise-argument-to-stub", async (t) => {
    const p = new lib.RpcPromise((async () => new Counter(3))());
    eq(await t.main.incrementCounter(p, 2), 5);
  });
  test("promise-in-callback-result", async (t) => {
    const f = () => ({ a: new lib.RpcPromise(new Promise((resolve) => setTimeout(() => resolve("late"), 10))) });
    eq(await t.main.callFunction(f, 0), { result: { a: "late" } });
  });
}
