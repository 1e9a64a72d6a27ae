// The client of the Rust example `typed`, in JavaScript: `notebook-client.mjs HOST:PORT`. Prints one JSON line,
// `{"passed":N}`, or fails.
import assert from "node:assert/strict";
import { RpcSession, RpcTarget, WebSocketTransport, newHttpBatchRpcSession } from "capnweb";
import { WebSocket } from "ws";

const address = process.argv[2];
const session = new RpcSession(new WebSocketTransport(new WebSocket(`ws://${address}/`)));
const notebook = session.getRemoteMain();
let passed = 0;
const same = (actual, expected) => {
  assert.deepStrictEqual(actual, expected);
  passed += 1;
};
const failed = async (promise) => {
  const error = await promise.then(() => assert.fail("it worked"), (e) => e);
  return { name: error.name, message: error.message, ...error };
};
const note = (title, stars) => ({ title, tags: ["new"], stars });

same(await notebook.version, "1");

// Pipelined; a member that is undefined comes back as null, which is what Rust has for nothing.
const pending = notebook.openShelf("Ada");
const first = pending.add(note("one"));
same(await pending.note(first), note("one", null));
const shelf = await pending;
same(await shelf.ids(), [0]);

// Errors: of the application (of names, npm's receiver keeps those of built-in classes only), of wrong arguments, of
// unknown methods.
same(await failed(shelf.note(7)), { name: "Error", message: "there is no note 7", id: 7 });
same(await failed(shelf.note("x")), {
  name: "TypeError", message: 'argument `id` of `note`: invalid type: string "x", expected u32',
});
same(await failed(shelf.note()), {
  name: "TypeError", message: "argument `id` of `note`: invalid type: undefined, expected u32",
});
same(await failed(shelf.add({ title: "t", tags: [1], stars: 300 })), {
  name: "TypeError", message: "argument `note` of `add`: at `tags.0`: invalid type: floating point `1.0`, expected a string",
});
same(await failed(shelf.unknown()), { name: "TypeError", message: "'unknown' is not a function." });
same(await failed(notebook.openShelf("")), { name: "RangeError", message: "an owner has a name" });
same(await shelf.unknown, undefined);

// A callback.
const changes = [];
let changed;
await shelf.watch((change) => {
  changes.push(change);
  changed?.();
});
const heard = new Promise((resolve) => (changed = resolve));
same(await shelf.add(note("two", 5)), 1);
await heard;
same(changes, [{ kind: "added", id: 1, note: note("two", 5) }]);

// Streams.
const writer = (await shelf.import()).getWriter();
await writer.write(note("three", 1));
await writer.write(note("four", 2));
await writer.close();
const titles = [];
for await (const exported of await shelf.export()) titles.push(exported.title);
same(titles, ["one", "two", "three", "four"]);
const bytes = new ReadableStream({
  start(controller) {
    for (let i = 0; i < 10; i += 1) controller.enqueue(new Uint8Array(10_000));
    controller.close();
  },
});
same(await shelf.measure(bytes), 100_000);

// Maps, here and in the server.
const unmapped = shelf.ids();
same((await unmapped.map((id) => shelf.note(id))).map(({ title }) => title), titles);
const other = notebook.openShelf("Grace");
same(await other.copyFrom(shelf), 4);

// An object of ours, called by the server.
class Mine extends RpcTarget {
  ids() {
    return [3, 4];
  }
  note(id) {
    return note(`mine ${id}`, null);
  }
}
same(await other.copyFrom(new Mine()), 2);
same((await other.note(5)).title, "mine 4");

same(await shelf.throwAllAway(), 4);

// A method read like a property is a function.
const ids = await shelf.ids;
same(await ids(), []);

// A batch.
const batch = newHttpBatchRpcSession(`http://${address}/`);
const batched = batch.openShelf("batch");
same(await Promise.all([batch.version, batched.add(note("one"))]), ["1", 0]);

// All that was lent comes back, but for the callback that the server keeps, and the shelf: npm's map does not give back
// what its closure used.
for (const stub of [ids, shelf, pending, first, unmapped, other]) stub[Symbol.dispose]();
const deadline = Date.now() + 10_000;
while (session.getStats().imports > 2 || session.getStats().exports > 2) {
  assert.ok(Date.now() < deadline, JSON.stringify(session.getStats()));
  await new Promise((resolve) => setTimeout(resolve, 5));
}
passed += 1;
console.log(JSON.stringify({ passed }));
process.exit(0);
