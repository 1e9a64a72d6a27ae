// The cases that any test server must pass, for a client in whatever runtime.
import assert from "node:assert/strict";
import { errorName, errorProps, tag as tagWith } from "./values.mjs";
import calls from "./cases/calls.mjs";
import errors from "./cases/errors.mjs";
import order from "./cases/order.mjs";
import session from "./cases/session.mjs";
import streams from "./cases/streams.mjs";
import stubs from "./cases/stubs.mjs";
import values from "./cases/values.mjs";

const DEADLINE_MS = 10_000;
const POLL_MS = 5;

// Runs the cases that `options` wants with `lib`, an npm capnweb, and tells `report` of each. `options`: the urls `ws`
// and `http`; `old`, for 0.5; `only`, names or prefixes with `*`; `connectRaw`, which opens a WebSocket for raw frames,
// without which those cases are left out.
export async function runCases(lib, options, report) {
  const isStub = (v) => v instanceof lib.RpcStub || v instanceof lib.RpcTarget;
  const tag = (v) => tagWith(v, isStub);

  async function outcome(promise) {
    let value;
    try {
      value = await promise;
    } catch (e) {
      if (!(e instanceof Error)) return { thrown: await tag(e) };
      return { name: errorName(e), message: e.message, props: await errorProps(e, isStub) };
    }
    return { value: await tag(value) };
  }

  const eq = (actual, expected) => assert.deepStrictEqual(actual, expected);
  const error = (name, message, props = []) => ({ name, message, props });

  const runId = `${Math.random().toString(36).slice(2)}`;
  let labels = 0;

  // Waits until `probe` gives the expected value; for what the protocol does not announce.
  async function until(probe, expected, context) {
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
      if (options.old) stub = lib.newWebSocketRpcSession(ws, main);
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
      const peer = await options.connectRaw(this.wsUrl(path));
      this.#cleanup.push(() => peer.ws.terminate());
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
    cases.push({ name, old, run, raw: run.toString().includes("t.raw(") });
  };
  // `test` needs 0.12; `testAny` runs with 0.5 too.
  const suite = {
    lib, eq, outcome, tag, error,
    test: (name, run) => add(name, false, run),
    testAny: (name, run) => add(name, true, run),
  };

  for (const add of [values, errors, calls, order, stubs, streams, session]) add(suite);

  const only = options.only;
  const wanted = ({ name }) =>
    !only || only.some((o) => (o.endsWith("*") ? name.startsWith(o.slice(0, -1)) : name === o));

  let passed = 0;
  let failed = 0;
  for (const { name, run } of cases.filter((c) => (c.old || !options.old) && (options.connectRaw || !c.raw) && wanted(c))) {
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
    report(line);
  }
  return { passed, failed };
}
