// Runs npm capnweb as the client against any test server, and raw frames beside it:
// `client.mjs --ws ws://H:P/ws --http http://H:P/batch [--capnweb 0.12|0.5] [--only a,b]`. One JSON line a
// case on stdout, then {"passed":N,"failed":N}. A name in --only that ends in `*` is a prefix.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { WebSocket as RawSocket } from "ws";
import { runCases } from "./suite.mjs";

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

// One raw WebSocket: sends literal frames, hands out what comes back one by one.
class RawPeer {
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
    assert.equal(await this.next(), JSON.stringify(["resolve", pushId, 777]));
  }
}

async function connectRaw(url) {
  const peer = new RawPeer(url);
  await peer.opened;
  return peer;
}

const settings = { ws: options.ws, http: options.http, old: OLD, only: options.only?.split(","), connectRaw };
const summary = await runCases(lib, settings, (line) => console.log(JSON.stringify(line)));
// What is left open after a failed case must not keep the process.
process.stdout.write(JSON.stringify(summary) + "\n", () => process.exit(0));
