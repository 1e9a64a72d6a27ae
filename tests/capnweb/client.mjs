// Runs npm capnweb as the client against any test server, and raw frames beside it:
// `client.mjs --ws ws://H:P/ws --http http://H:P/batch [--capnweb 0.12|0.5] [--only a,b]`. One JSON line a
// case on stdout, then {"passed":N,"failed":N}. A name in --only that ends in `*` is a prefix.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { WebSocket as RawSocket } from "ws";
import { errorName, errorProps, tag as tagWith } from "./values.mjs";

const DEADLINE_MS = 10_000;
const POLL_MS = 5;

const { values: options } = parseArgs({
  options: {
    ws: { type: "string" },
    http: { type: "string" },
    capnweb: { type: "string", default: "0.12" },
    only: { type: "string" },
  },
});
if (!options.ws || !options.http || !["0.12", "0.5"].includes(options.capnweb)) {
  console.error("usage: client.mjs --ws URL --http URL [--capnweb 0.12|0.5] [--only a,b]");
  process.exit(2);
}

const OLD = options.capnweb === "0.5";
const lib = await import(OLD ? "capnweb-0.5" : "capnweb");

// A rejection nobody waits for belongs to a promise that a case dropped on purpose.
process.on("unhandledRejection", () => {});

const isStub = (v) => v instanceof lib.RpcStub || v instanceof lib.RpcTarget;
export const tag = (v) => tagWith(v, isStub);

export async function outcome(promise) {
  let value;
  try {
    value = await promise;
  } catch (e) {
    if (!(e instanceof Error)) return { thrown: await tag(e) };
    return { name: errorName(e), message: e.message, props: await errorProps(e, isStub) };
  }
  return { value: await tag(value) };
}

export const eq = (actual, expected) => assert.deepStrictEqual(actual, expected);
export const error = (name, message, props = []) => ({ name, message, props });

const runId = `${process.pid}-${Date.now()}`;
let labels = 0;

// Waits until `probe` gives the expected value; for what the protocol does not announce.
export async function until(probe, expected, context) {
  let last;
  while (!context.over) {
    last = await probe();
    try {
      eq(last, expected);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
  throw new Error(`never became ${JSON.stringify(expected)}, last was ${JSON.stringify(last)}`);
}

// One raw WebSocket: sends literal frames, hands out what comes back one by one.
export class RawPeer {
  #frames = [];
  #waiting = [];
  #closed = false;
  constructor(url) {
    this.ws = new RawSocket(url, { maxPayload: 64 * 1024 * 1024 });
    this.opened = new Promise((resolve, reject) => {
      this.ws.on("open", resolve);
      this.ws.on("error", reject);
    });
    this.closed = new Promise((resolve) => {
      this.ws.on("close", (code, reason) => {
        this.#closed = true;
        for (const waiter of this.#waiting.splice(0)) waiter.reject(new Error("closed before the frame came"));
        resolve({ code, reason: reason.toString() });
      });
    });
    this.ws.on("message", (data, binary) => {
      const frame = binary ? { binary: data.toString("hex") } : data.toString();
      const waiter = this.#waiting.shift();
      if (waiter) waiter.resolve(frame);
      else this.#frames.push(frame);
    });
  }
  send(...frames) {
    for (const frame of frames) this.ws.send(typeof frame === "string" || frame instanceof Buffer ? frame : JSON.stringify(frame));
  }
  // The next frame, as text.
  next() {
    if (this.#frames.length > 0) return Promise.resolve(this.#frames.shift());
    if (this.#closed) return Promise.reject(new Error("closed before the frame came"));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
  async take(n) {
    const out = [];
    for (let i = 0; i < n; i++) out.push(await this.next());
    return out;
  }
  // Everything that came and was not taken, once the socket has closed.
  async rest() {
    await this.closed;
    return this.#frames.splice(0);
  }
  // Sends a call that the server answers only after everything before it, and checks that nothing else
  // came first: how a case shows that frames are not answered.
  async expectQuiet(pushId) {
    this.send(["push", ["pipeline", 0, ["returnNumber"], [777]]], ["pull", pushId]);
    eq(await this.next(), JSON.stringify(["resolve", pushId, 777]));
  }
}

const onPath = (url, path) => {
  const u = new URL(url);
  u.pathname = path;
  return u.href;
};

class Context {
  over = false;
  #cleanup = [];
  #main;

  lib = lib;
  label() {
    return `${runId}-${++labels}`;
  }
  until(probe, expected) {
    return until(probe, expected, this);
  }
  wsUrl(path) {
    return path === undefined ? options.ws : onPath(options.ws, path);
  }
  httpUrl(path) {
    return path === undefined ? options.http : onPath(options.http, path);
  }
  // A session: {main, session, ws, closed}. `session` is missing with 0.5.
  connect({ path, main, rpc } = {}) {
    const ws = new WebSocket(this.wsUrl(path));
    const closed = new Promise((resolve) => {
      ws.addEventListener("close", (e) => resolve({ code: e.code, reason: e.reason }));
    });
    let session;
    let stub;
    if (OLD) stub = lib.newWebSocketRpcSession(ws, main);
    else {
      session = new lib.RpcSession(new lib.WebSocketTransport(ws), main, rpc);
      stub = session.getRemoteMain();
    }
    const dispose = () => stub[Symbol.dispose]();
    this.#cleanup.push(dispose);
    return { main: stub, session, ws, closed, dispose };
  }
  // The main object of a connection of the case's own.
  get main() {
    this.#main ??= this.connect();
    return this.#main.main;
  }
  get connection() {
    void this.main;
    return this.#main;
  }
  batch() {
    return lib.newHttpBatchRpcSession(options.http);
  }
  async raw(path) {
    const peer = new RawPeer(this.wsUrl(path));
    this.#cleanup.push(() => peer.ws.terminate());
    await peer.opened;
    return peer;
  }
  end() {
    this.over = true;
    for (const f of this.#cleanup.reverse()) {
      try {
        f();
      } catch {
        // the case has its result
      }
    }
  }
}

const cases = [];
const names = new Set();
const add = (name, old, run) => {
  assert(!names.has(name), `two cases called ${name}`);
  names.add(name);
  cases.push({ name, old, run });
};
// `test` needs 0.12; `testAny` runs with 0.5 too.
const suite = {
  lib, eq, outcome, tag, error,
  test: (name, run) => add(name, false, run),
  testAny: (name, run) => add(name, true, run),
};

for (const file of ["values", "errors", "calls", "order", "stubs", "streams", "session"]) {
  (await import(`./cases/${file}.mjs`)).default(suite);
}

const only = options.only?.split(",");
const wanted = ({ name }) =>
  !only || only.some((o) => (o.endsWith("*") ? name.startsWith(o.slice(0, -1)) : name === o));

let passed = 0;
let failed = 0;
for (const { name, run } of cases.filter((c) => (c.old || !OLD) && wanted(c))) {
  const context = new Context();
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => {
      context.over = true;
      reject(new Error("deadline passed"));
    }, DEADLINE_MS);
  });
  let line;
  try {
    await Promise.race([run(context), deadline]);
    line = { case: name, ok: true };
    passed++;
  } catch (e) {
    line = { case: name, ok: false, error: e instanceof Error ? `${e.name}: ${e.message}` : String(e) };
    failed++;
  }
  clearTimeout(timer);
  context.end();
  console.log(JSON.stringify(line));
}
// What is left open after a failed case must not keep the process.
process.stdout.write(JSON.stringify({ passed, failed }) + "\n", () => process.exit(0));
