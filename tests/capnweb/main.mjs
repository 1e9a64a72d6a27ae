// The main object of the reference test server: what the definition of the test programs asks of it.
import { setTimeout as sleep } from "node:timers/promises";
import { RpcPromise, RpcStub, RpcTarget } from "capnweb";
import { ERRORS, MAKE, THROWN, tag as tagWith } from "./values.mjs";

const isStub = (v) => v instanceof RpcStub || v instanceof RpcTarget;
const tag = (v) => tagWith(v, isStub);
const messageOf = (e) => (e instanceof Error ? e.message : String(e));
const release = (v) => {
  if (v instanceof Object && Symbol.dispose in v) v[Symbol.dispose]();
};

// Shared by all sessions, keyed by the caller's label.
const disposeCounts = new Map();
const brokenCounts = new Map();
const notes = new Map();
const bump = (map, label) => map.set(label, (map.get(label) ?? 0) + 1);

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
}

class Nested extends RpcTarget {
  get name() {
    return "nested";
  }
  get self() {
    return new Nested();
  }
  greet(who) {
    return "hello " + who;
  }
}

class Disposable extends RpcTarget {
  #label;
  constructor(label) {
    super();
    this.#label = label;
  }
  getValue() {
    return 42;
  }
  hang() {
    return new Promise(() => {});
  }
  [Symbol.dispose]() {
    bump(disposeCounts, this.#label);
  }
}

function makeError(kind) {
  if (kind === "stubprop") {
    return Object.assign(new Error("with-stub"), { counter: new RpcStub(new Counter(0)), code: "E_STUB" });
  }
  const make = Object.hasOwn(ERRORS, kind) && ERRORS[kind];
  if (!make) throw new Error(`unknown error kind: ${kind}`);
  return make();
}

// A stream of what the iterator gives, read only as the consumer asks.
function streamOf(iterator, onCancel) {
  return new ReadableStream(
    {
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: onCancel,
    },
    { highWaterMark: 0 },
  );
}

async function* chunksOf(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

export class Main extends RpcTarget {
  #context; // {session}
  #log = [];
  #held = new Map();
  #subscribers = [];
  #watched = [];
  #sinks = new Map();
  #progress = 0;

  constructor(context) {
    super();
    this.#context = context;
  }

  [Symbol.dispose]() {
    for (const stub of [...this.#held.values(), ...this.#subscribers, ...this.#watched]) release(stub);
    this.#held.clear();
    this.#subscribers = [];
    this.#watched = [];
  }

  #getHeld(label) {
    const stub = this.#held.get(label);
    if (!stub) throw new Error(`nothing held: ${label}`);
    return stub;
  }

  // The methods of capnweb's own tests

  square(i) {
    return i * i;
  }
  callSquare(self, i) {
    return { result: self.square(i) };
  }
  async callFunction(func, i) {
    return { result: await func(i) };
  }
  throwError() {
    throw new RangeError("test error");
  }
  makeCounter(i) {
    return new Counter(i);
  }
  async incrementCounter(c, i = 1) {
    return await c.increment(i);
  }
  generateFibonacci(n) {
    const out = [];
    for (let i = 0, a = 0, b = 1; i < n; i++, [a, b] = [b, a + b]) out.push(a);
    return out;
  }
  returnNull() {
    return null;
  }
  returnUndefined() {
    return undefined;
  }
  returnNumber(i) {
    return i;
  }
  async echoBlob(b) {
    return new Blob([await b.arrayBuffer()], { type: b.type });
  }

  // Session

  get version() {
    return "capnweb-testserver/1";
  }
  get nested() {
    return new Nested();
  }
  stats() {
    return this.#context.session?.getStats() ?? null;
  }
  async callClientMain(method, args) {
    return await this.#context.session.getRemoteMain()[method](...args);
  }
  shutdown() {
    setTimeout(() => this.#context.session.getRemoteMain()[Symbol.dispose](), 20);
    return "bye";
  }

  // Values

  echo(v) {
    return v;
  }
  describe(...args) {
    return tag(args.length === 1 ? args[0] : args);
  }
  argCount(...args) {
    return args.length;
  }
  make(kind) {
    if (!Object.hasOwn(MAKE, kind)) throw new Error(`unknown kind: ${kind}`);
    return MAKE[kind]();
  }
  makeErrorValue(kind) {
    return makeError(kind);
  }
  throwKind(kind) {
    if (Object.hasOwn(THROWN, kind)) throw THROWN[kind]();
    throw makeError(kind);
  }
  async rejectKind(kind) {
    await sleep(1);
    throw makeError(kind);
  }
  bigString(n) {
    return "x".repeat(n);
  }
  strLength(s) {
    return s.length;
  }
  byteLength(b) {
    return b.byteLength;
  }
  getObject() {
    return {
      n: 5, s: "str", arr: [10, 20, [30]], nul: null, undef: undefined,
      nested: { fn: (x) => x + 1, counter: new Counter(100) },
    };
  }
  list() {
    return [{ id: 1, name: "a" }, { id: 2, name: "b" }, { id: 3, name: "c" }];
  }
  makeNotCallable() {
    return { f: 5 };
  }
  makeFunction() {
    return (x) => x + 1;
  }
  listCounters(n) {
    return Array.from({ length: n }, (_, i) => new Counter(i));
  }

  // Time and order

  async delay(ms, v) {
    await sleep(ms);
    return v;
  }
  never() {
    return new Promise(() => {});
  }
  async makeDelayedCounter(ms, i) {
    await sleep(ms);
    return new Counter(i);
  }
  async failLater(ms) {
    await sleep(ms);
    throw new Error("failed later");
  }
  record(x) {
    this.#log.push(x);
    return x;
  }
  recordWith(x, ignored) {
    this.#log.push(x);
    return x;
  }
  getLog() {
    return [...this.#log];
  }
  clearLog() {
    this.#log = [];
  }
  makeRecorder() {
    const record = (x) => {
      this.#log.push(x);
      return x;
    };
    return { a: (x) => record(x), b: (x) => record(x) };
  }
  embeddedSlow(ms, v) {
    return { before: 1, slow: new RpcPromise(sleep(ms).then(() => v)), after: 2 };
  }
  embeddedFail(ms) {
    const bad = sleep(ms).then(() => {
      throw new Error("embedded failed");
    });
    return { bad: new RpcPromise(bad) };
  }
  embeddedFromPeer(stub, method) {
    return { p: stub[method]() };
  }

  // Stubs and disposal

  makeDisposable(label) {
    return new Disposable(label);
  }
  async makeDisposableSlow(label, ms) {
    await sleep(ms);
    return new Disposable(label);
  }
  makeDisposables(label, n) {
    return Array.from({ length: n }, () => new Disposable(label));
  }
  makeTwice(label) {
    const d = new Disposable(label);
    return { a: d, b: d };
  }
  disposeCount(label) {
    return disposeCounts.get(label) ?? 0;
  }
  holdStub(label, stub) {
    release(this.#held.get(label));
    this.#held.set(label, stub.dup());
  }
  async callHeld(label, ...args) {
    return await this.#getHeld(label)(...args);
  }
  async callHeldMethod(label, method, ...args) {
    return await this.#getHeld(label)[method](...args);
  }
  getHeld(label) {
    return { stub: this.#getHeld(label).dup() };
  }
  releaseHeld(label) {
    release(this.#held.get(label));
    this.#held.delete(label);
  }
  echoStub(stub) {
    return { stub: stub.dup() };
  }
  async callMethod(stub, method, args) {
    return await stub[method](...args);
  }
  callMethodPipelined(stub, method, args) {
    return stub[method](...args);
  }
  async readProperty(stub, name) {
    return await stub[name];
  }
  async callMany(fn, n) {
    const out = [];
    for (let i = 0; i < n; i++) out.push(await fn(i));
    return out;
  }
  callConcurrent(fn, n) {
    return Promise.all(Array.from({ length: n }, (_, i) => fn(i)));
  }
  callNoAwait(fn, n) {
    for (let i = 0; i < n; i++) release(fn(i));
    return "sent";
  }
  async catchFrom(fn) {
    try {
      await fn();
      return { caught: false };
    } catch (e) {
      if (!(e instanceof Error)) return { caught: true, thrown: await tag(e) };
      return { caught: true, name: e.name, message: e.message, code: e.code ?? null };
    }
  }
  subscribe(fn) {
    this.#subscribers.push(fn.dup());
    return this.#subscribers.length;
  }
  async emit(v) {
    for (const fn of this.#subscribers) await fn(v);
    return this.#subscribers.length;
  }
  unsubscribe() {
    this.#subscribers.splice(0).forEach(release);
  }
  watchBroken(label, stub) {
    const watched = stub.dup();
    this.#watched.push(watched);
    watched.onRpcBroken((e) => {
      bump(brokenCounts, label);
      notes.set(label, messageOf(e));
    });
  }
  brokenCount(label) {
    return brokenCounts.get(label) ?? 0;
  }
  note(label) {
    return notes.get(label) ?? null;
  }

  // Streams

  readableOf(n, size) {
    async function* strings() {
      for (let i = 0; i < n; i++) yield String(i).padEnd(size, "x");
    }
    return streamOf(strings());
  }
  readableValues() {
    async function* values() {
      yield* [1, "two", { three: 3 }, [4], new Date(5), new Uint8Array([6]), undefined, null];
    }
    return streamOf(values());
  }
  readableError(n) {
    async function* failing() {
      for (let i = 0; i < n; i++) yield i;
      throw new Error("stream failed");
    }
    return streamOf(failing());
  }
  readableCounter() {
    async function* counter() {
      yield new Counter(50);
    }
    return streamOf(counter());
  }
  readableTracked(label) {
    async function* first() {
      yield "first";
      await new Promise(() => {});
    }
    return streamOf(first(), () => {
      bump(disposeCounts, label);
    });
  }
  async sumReadable(s) {
    let sum = 0;
    for await (const chunk of chunksOf(s)) sum += chunk;
    return sum;
  }
  async collect(s) {
    const out = [];
    for await (const chunk of chunksOf(s)) out.push(chunk);
    return out;
  }
  async collectDescribe(s) {
    const out = [];
    for await (const chunk of chunksOf(s)) {
      out.push(await tag(chunk));
      release(chunk);
    }
    return out;
  }
  async collectThenError(s) {
    const chunks = [];
    try {
      for await (const chunk of chunksOf(s)) chunks.push(chunk);
      return { chunks, error: null };
    } catch (e) {
      return { chunks, error: messageOf(e) };
    }
  }
  async readOne(s) {
    const reader = s.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return value;
  }
  async countLength(s) {
    let n = 0;
    let len = 0;
    for await (const chunk of chunksOf(s)) {
      n++;
      len += chunk.length;
    }
    return { n, len };
  }
  ignoreStream(s) {
    return "ignored";
  }
  async writeTo(w, chunks) {
    const writer = w.getWriter();
    for (const chunk of chunks) await writer.write(chunk);
    await writer.close();
    return chunks.length;
  }
  async writeMany(w, n, size) {
    const writer = w.getWriter();
    this.#progress = 0;
    for (let i = 0; i < n; i++) {
      await writer.write("x".repeat(size));
      this.#progress++;
    }
    await writer.close();
    return n;
  }
  writeProgress() {
    return this.#progress;
  }
  async writeAndAbort(w, chunk, reason) {
    const writer = w.getWriter();
    await writer.write(chunk);
    await writer.abort(reason);
    return "aborted";
  }
  async writeAndDrop(w, chunk) {
    const writer = w.getWriter();
    await writer.write(chunk);
    return "dropped";
  }
  makeSink(label) {
    const state = { chunks: [], closed: false, aborted: null };
    this.#sinks.set(label, state);
    return new WritableStream({
      async write(chunk) {
        state.chunks.push(await tag(chunk));
        release(chunk);
      },
      close() {
        state.closed = true;
      },
      abort(reason) {
        state.aborted = messageOf(reason);
      },
    });
  }
  sinkState(label) {
    return this.#sinks.get(label) ?? { chunks: [], closed: false, aborted: null };
  }
  makeFailingSink(n) {
    let written = 0;
    return new WritableStream({
      write() {
        if (++written > n) throw new Error("Write limit exceeded");
      },
    });
  }
  makeTransform() {
    const { readable, writable } = new TransformStream({
      transform(chunk, controller) {
        controller.enqueue(chunk.toUpperCase());
      },
    });
    return { readable, writable };
  }
}
