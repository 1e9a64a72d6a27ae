// The server of the Rust example `typed`, in JavaScript. Prints `listening 127.0.0.1:PORT` and runs until killed.
import { createServer } from "node:http";
import { RpcTarget, newWebSocketRpcSession } from "capnweb";
import { WebSocketServer } from "ws";

class Shelf extends RpcTarget {
  #notes = [];
  #watchers = [];

  #tell(change) {
    // Nobody here waits for them; a watcher that is gone must not end the server.
    for (const watcher of this.#watchers) watcher(change).catch?.(() => {});
  }

  add(note) {
    const id = this.#notes.push(note) - 1;
    this.#tell({ kind: "added", id, note });
    return id;
  }

  note(id) {
    if (!(id in this.#notes)) {
      const error = new Error(`there is no note ${id}`);
      error.name = "NoSuchNote";
      throw Object.assign(error, { id });
    }
    return this.#notes[id];
  }

  ids() {
    return this.#notes.map((_, id) => id);
  }

  watch(onChange) {
    this.#watchers.push(onChange.dup());
  }

  async copyFrom(other) {
    const notes = await other.ids().map((id) => other.note(id));
    for (const note of notes) this.add(note);
    return notes.length;
  }

  export() {
    return ReadableStream.from(this.#notes.slice());
  }

  import() {
    return new WritableStream({ write: (note) => void this.add(note) });
  }

  async measure(attachment) {
    let total = 0;
    for await (const chunk of attachment) total += chunk.length;
    return total;
  }

  throwAllAway() {
    this.#tell({ kind: "cleared" });
    return this.#notes.splice(0).length;
  }
}

class Notebook extends RpcTarget {
  #shelves = new Map();

  openShelf(owner) {
    if (owner === "") throw new RangeError("an owner has a name");
    if (!this.#shelves.has(owner)) this.#shelves.set(owner, new Shelf());
    return this.#shelves.get(owner);
  }

  get version() {
    return "1";
  }
}

process.on("unhandledRejection", (e) => console.error("unhandled rejection:", e));

const http = createServer();
new WebSocketServer({ server: http }).on("connection", (ws) => newWebSocketRpcSession(ws, new Notebook()));
http.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${http.address().port}`));
