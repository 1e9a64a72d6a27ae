// Stubs, their life and their end.
export default function ({ test, testAny, eq, outcome, error, lib }) {
  const { RpcStub, RpcTarget } = lib;

  class Local extends RpcTarget {
    drops = { count: 0 };
    constructor() {
      super();
      Object.defineProperty(this, "drops", { enumerable: false, value: this.drops });
    }
    getValue() {
      return 7;
    }
    [Symbol.dispose]() {
      this.drops.count++;
    }
  }
  // A function with a disposer, as one argument may be.
  const disposable = (f, drops) => Object.assign(f, { [Symbol.dispose]: () => drops.count++ });

  testAny("dispose", async (t) => {
    const label = t.label();
    const d = await t.main.makeDisposable(label);
    const seen = [await d.getValue(), await t.main.disposeCount(label)];
    d[Symbol.dispose]();
    eq([...seen, await t.main.disposeCount(label)], [42, 0, 1]);
  });
  testAny("dispose-twice", async (t) => {
    const label = t.label();
    const d = await t.main.makeDisposable(label);
    d[Symbol.dispose]();
    d[Symbol.dispose]();
    eq(await t.main.disposeCount(label), 1);
  });
  testAny("dispose-dup", async (t) => {
    const label = t.label();
    const d = await t.main.makeDisposable(label);
    const dup = d.dup();
    d[Symbol.dispose]();
    const seen = [await t.main.disposeCount(label), await dup.getValue()];
    dup[Symbol.dispose]();
    eq([...seen, await t.main.disposeCount(label)], [0, 42, 1]);
  });
  testAny("dispose-array", async (t) => {
    const label = t.label();
    const list = await t.main.makeDisposables(label, 5);
    eq(await t.main.disposeCount(label), 0);
    list[Symbol.dispose]();
    eq(await t.main.disposeCount(label), 5);
  });
  testAny("dispose-one-of-an-array", async (t) => {
    const label = t.label();
    const list = await t.main.makeDisposables(label, 3);
    list[1][Symbol.dispose]();
    eq([await t.main.disposeCount(label), await list[0].getValue(), await list[2].getValue()], [1, 42, 42]);
  });
  testAny("dispose-unawaited-promise", async (t) => {
    const label = t.label();
    const p = t.main.makeDisposable(label);
    eq(await p.getValue(), 42);
    p[Symbol.dispose]();
    await t.until(() => t.main.disposeCount(label), 1);
  });
  testAny("dispose-pending", async (t) => {
    const label = t.label();
    const p = t.main.makeDisposableSlow(label, 40);
    await t.main.returnNull();
    p[Symbol.dispose]();
    await t.until(() => t.main.disposeCount(label), 1);
  });
  testAny("dispose-pending-after-pull", async (t) => {
    const label = t.label();
    const p = t.main.makeDisposableSlow(label, 40);
    const waiting = outcome(p);
    await t.main.returnNull();
    p[Symbol.dispose]();
    eq(await waiting, error("Error", "RPC was canceled because the RpcPromise was disposed."));
    await t.until(() => t.main.disposeCount(label), 1);
  });
  testAny("dispose-keeps-running-call", async (t) => {
    const label = t.label();
    const d = await t.main.makeDisposable(label);
    d.hang().then(() => {}, () => {});
    d[Symbol.dispose]();
    await t.until(() => t.main.disposeCount(label), 1);
    eq(await t.main.square(3), 9);
  });
  testAny("dispose-twice-returned", async (t) => {
    const label = t.label();
    const { a, b } = await t.main.makeTwice(label);
    eq([await a.getValue(), await b.getValue()], [42, 42]);
    a[Symbol.dispose]();
    eq(await b.getValue(), 42);
    b[Symbol.dispose]();
    await t.until(async () => (await t.main.disposeCount(label)) >= 1, true);
  });
  testAny("dispose-on-disconnect", async (t) => {
    const label = t.label();
    const other = t.connect();
    await other.main.makeDisposable(label);
    eq(await t.main.disposeCount(label), 0);
    other.dispose();
    await t.until(() => t.main.disposeCount(label), 1);
  });
  testAny("dispose-held-on-disconnect", async (t) => {
    const label = t.label();
    const other = t.connect();
    const d = await other.main.makeDisposable(label);
    await other.main.holdStub("mine", d);
    d[Symbol.dispose]();
    await other.main.returnNull();
    eq(await t.main.disposeCount(label), 0);
    other.dispose();
    await t.until(() => t.main.disposeCount(label), 1);
  });
  testAny("dispose-many", async (t) => {
    const label = t.label();
    for (let i = 0; i < 100; i++) (await t.main.makeDisposable(label))[Symbol.dispose]();
    eq(await t.main.disposeCount(label), 100);
  });
  testAny("dispose-count-unknown", async (t) => eq(await t.main.disposeCount(t.label()), 0));
  testAny("disposed-stub-fails", async (t) => {
    const c = await t.main.makeCounter(1);
    c[Symbol.dispose]();
    eq(await outcome(c.increment()), error("Error", "Attempted to use RPC stub after it has been disposed."));
  });

  testAny("argument-dropped-after-call", async (t) => {
    const local = new Local();
    await t.main.callMethod(local, "getValue", []);
    await t.until(() => local.drops.count, 1);
  });
  testAny("argument-dropped-after-failed-call", async (t) => {
    const local = new Local();
    await outcome(t.main.callMethod(local, "noSuch", []));
    await t.until(() => local.drops.count, 1);
  });
  testAny("argument-dropped-when-method-is-unknown", async (t) => {
    const local = new Local();
    await outcome(t.main.noSuch(local));
    await t.until(() => local.drops.count, 1);
  });
  testAny("argument-dropped-when-other-argument-fails", async (t) => {
    const local = new Local();
    await outcome(t.main.recordWith(local, t.main.failLater(5)));
    await t.until(() => local.drops.count, 1);
  });
  testAny("argument-dropped-when-callee-failed", async (t) => {
    const local = new Local();
    await outcome(t.main.throwError().foo(local));
    await t.until(() => local.drops.count, 1);
  });
  testAny("argument-in-object-dropped", async (t) => {
    const local = new Local();
    await t.main.argCount({ deep: [local] });
    await t.until(() => local.drops.count, 1);
  });
  testAny("argument-with-dropped-key-dropped", async (t) => {
    const local = new Local();
    await t.main.argCount({ toJSON: local });
    await t.until(() => local.drops.count, 1);
  });
  testAny("argument-stays-during-call", async (t) => {
    const drops = { count: 0 };
    const atCall = [];
    await t.main.callMany(disposable(() => { atCall.push(drops.count); }, drops), 3);
    eq(atCall, [0, 0, 0]);
    await t.until(() => drops.count, 1);
  });
  testAny("callback-function-dropped", async (t) => {
    const drops = { count: 0 };
    eq(await t.main.callFunction(disposable((x) => x, drops), 1), { result: 1 });
    await t.until(() => drops.count, 1);
  });
  test("callback-argument-dropped-by-client", async (t) => {
    const label = t.label();
    const d = await t.main.makeDisposable(label);
    // The client's handler is given its own reference, which ends with the call.
    eq(await t.main.callMethod((x) => x.getValue(), "call", [null, d]).catch(() => "no call method"), "no call method");
    d[Symbol.dispose]();
    await t.until(() => t.main.disposeCount(label), 1);
  });

  testAny("stub-home", async (t) => {
    const local = new Local();
    const r = await t.main.echoStub(local);
    eq(await r.stub.getValue(), 7);
    eq(local.drops.count, 0);
    r[Symbol.dispose]();
    await t.until(() => local.drops.count, 1);
  });
  testAny("stub-home-is-local", async (t) => {
    const connection = t.connect();
    const r = await connection.main.echoStub(new Local());
    let sent = 0;
    const send = connection.ws.send.bind(connection.ws);
    connection.ws.send = (x) => {
      sent++;
      send(x);
    };
    eq(await r.stub.getValue(), 7);
    eq(sent, 0);
  });
  testAny("stub-of-server-echoed", async (t) => {
    const label = t.label();
    const d = await t.main.makeDisposable(label);
    const r = await t.main.echoStub(d);
    d[Symbol.dispose]();
    eq([await r.stub.getValue(), await t.main.disposeCount(label)], [42, 0]);
    r[Symbol.dispose]();
    await t.until(() => t.main.disposeCount(label), 1);
  });
  testAny("stub-of-server-as-argument-then-disposed", async (t) => {
    const c = await t.main.makeCounter(1);
    const p = t.main.incrementCounter(c, 5);
    c[Symbol.dispose]();
    eq(await p, 6);
  });
  testAny("stub-of-other-session", async (t) => {
    const other = t.connect();
    const c = await other.main.makeCounter(10);
    eq([await t.main.incrementCounter(c, 5), await c.value], [15, 15]);
  });
  testAny("promise-of-other-session", async (t) => {
    const other = t.connect();
    eq(await t.main.square(other.main.delay(10, 5)), 25);
  });

  testAny("hold-release", async (t) => {
    const local = new Local();
    const label = t.label();
    await t.main.holdStub(label, local);
    const seen = [local.drops.count, await t.main.callHeldMethod(label, "getValue")];
    await t.main.releaseHeld(label);
    await t.until(() => local.drops.count, 1);
    eq(seen, [0, 7]);
  });
  testAny("hold-function", async (t) => {
    const label = t.label();
    await t.main.holdStub(label, (a, b) => a * b);
    eq([await t.main.callHeld(label, 6, 7), await t.main.callHeld(label, 2, 2)], [42, 4]);
  });
  testAny("hold-replaces", async (t) => {
    const label = t.label();
    await t.main.holdStub(label, () => "first");
    await t.main.holdStub(label, () => "second");
    eq(await t.main.callHeld(label), "second");
  });
  testAny("hold-unknown", async (t) => {
    eq((await outcome(t.main.callHeld(t.label()))).name, "Error");
  });
  testAny("hold-after-release", async (t) => {
    const label = t.label();
    await t.main.holdStub(label, () => 1);
    await t.main.releaseHeld(label);
    eq((await outcome(t.main.callHeld(label))).name, "Error");
  });
  testAny("held-error", async (t) => {
    const label = t.label();
    await t.main.holdStub(label, () => { throw new RangeError("held"); });
    eq(await outcome(t.main.callHeld(label)), error("RangeError", "held"));
  });
  testAny("get-held", async (t) => {
    const local = new Local();
    const label = t.label();
    await t.main.holdStub(label, local);
    const r = await t.main.getHeld(label);
    eq(await r.stub.getValue(), 7);
    r[Symbol.dispose]();
    eq([await t.main.callHeldMethod(label, "getValue"), local.drops.count], [7, 0]);
    await t.main.releaseHeld(label);
    await t.until(() => local.drops.count, 1);
  });
  testAny("get-held-of-server", async (t) => {
    const label = t.label();
    const c = await t.main.makeCounter(3);
    await t.main.holdStub(label, c);
    eq([await t.main.getHeld(label).stub.increment(1), await c.value], [4, 4]);
  });
  testAny("hold-bound-method", async (t) => {
    const label = t.label();
    const c = await t.main.makeCounter(3);
    await t.main.holdStub(label, c.increment);
    eq([await t.main.callHeld(label, 4), await c.value], [7, 7]);
  });
  testAny("hold-survives-client-dispose", async (t) => {
    const label = t.label();
    const local = new Local();
    const stub = new RpcStub(local);
    await t.main.holdStub(label, stub);
    stub[Symbol.dispose]();
    eq([local.drops.count, await t.main.callHeldMethod(label, "getValue")], [0, 7]);
    await t.main.releaseHeld(label);
    await t.until(() => local.drops.count, 1);
  });
  testAny("hold-of-main", async (t) => {
    const label = t.label();
    await t.main.holdStub(label, t.main.dup());
    eq(await t.main.callHeldMethod(label, "square", 4), 16);
  });

  testAny("subscribe-emit", async (t) => {
    const got = [];
    eq(await t.main.subscribe((v) => { got.push(["a", v]); }), 1);
    eq(await t.main.subscribe((v) => { got.push(["b", v]); }), 2);
    eq(await t.main.emit({ x: 1 }), 2);
    eq(got, [["a", { x: 1 }], ["b", { x: 1 }]]);
  });
  testAny("unsubscribe", async (t) => {
    const drops = { count: 0 };
    await t.main.subscribe(disposable(() => {}, drops));
    await t.main.emit(1);
    eq(drops.count, 0);
    await t.main.unsubscribe();
    await t.until(() => drops.count, 1);
    eq(await t.main.emit(1), 0);
  });
  testAny("emit-without-subscribers", async (t) => eq(await t.main.emit(1), 0));

  testAny("watch-broken-not-yet", async (t) => {
    const label = t.label();
    await t.main.watchBroken(label, new Local());
    eq([await t.main.brokenCount(label), await t.main.note(label)], [0, null]);
  });
  testAny("watch-broken-on-dispose-of-main", async (t) => {
    const label = t.label();
    const other = t.connect();
    await other.main.watchBroken(label, new Local());
    other.dispose();
    await t.until(() => t.main.brokenCount(label), 1);
    eq(await t.main.note(label),
      "Peer closed WebSocket: 3000 RPC session was shut down by disposing the main stub");
  });
  testAny("watch-broken-on-abort", async (t) => {
    const label = t.label();
    const peer = await t.raw();
    peer.send(["push", ["pipeline", 0, ["watchBroken"], [label, ["export", -1]]]], ["pull", 1]);
    eq(await peer.next(), '["resolve",1,["undefined"]]');
    peer.send(["abort", ["error", "RangeError", "going away"]]);
    eq((await peer.closed), { code: 3000, reason: "going away" });
    await t.until(() => t.main.brokenCount(label), 1);
    eq(await t.main.note(label), "going away");
  });
  testAny("watch-broken-on-lost-connection", async (t) => {
    const label = t.label();
    const peer = await t.raw();
    peer.send(["push", ["pipeline", 0, ["watchBroken"], [label, ["export", -1]]]], ["pull", 1]);
    eq(await peer.next(), '["resolve",1,["undefined"]]');
    peer.ws.terminate();
    await t.until(() => t.main.brokenCount(label), 1);
    eq(typeof (await t.main.note(label)), "string");
  });
  testAny("watch-broken-of-server-stub", async (t) => {
    const label = t.label();
    await t.main.watchBroken(label, await t.main.makeCounter(1));
    eq(await t.main.brokenCount(label), 0);
  });
  testAny("note-unknown", async (t) => eq([await t.main.note(t.label()), await t.main.brokenCount(t.label())], [null, 0]));
}
