// Streams both ways, with the flow control that tells a reader from a buffer.
async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const of = (...items) => new ReadableStream({
  start(controller) {
    for (const item of items) controller.enqueue(item);
    controller.close();
  },
});

export default function ({ test, eq, outcome, tag, error }) {
  test("stream-read", async (t) => eq(await collect(await t.main.readableOf(5, 3)), ["0xx", "1xx", "2xx", "3xx", "4xx"]));
  test("stream-read-empty", async (t) => eq(await collect(await t.main.readableOf(0, 3)), []));
  test("stream-read-values", async (t) => {
    const chunks = await collect(await t.main.readableValues());
    eq(await Promise.all(chunks.map(tag)), [
      { t: "num", v: 1 }, { t: "str", v: "two" }, { t: "obj", v: [["three", { t: "num", v: 3 }]] },
      { t: "arr", v: [{ t: "num", v: 4 }] }, { t: "date", v: 5 }, { t: "bytes", kind: "Uint8Array", hex: "06" },
      { t: "undef" }, { t: "null" },
    ]);
  });
  test("stream-read-large", async (t) => {
    const chunks = await collect(await t.main.readableOf(60, 20000));
    eq([chunks.length, chunks.join("").length], [60, 1_200_000]);
  });
  test("stream-read-error", async (t) => {
    const reader = (await t.main.readableError(2)).getReader();
    eq([(await reader.read()).value, (await reader.read()).value], [0, 1]);
    eq(await outcome(reader.read()), error("Error", "stream failed"));
  });
  test("stream-read-stub", async (t) => {
    const reader = (await t.main.readableCounter()).getReader();
    const { value } = await reader.read();
    eq(await value.increment(2), 52);
  });
  test("stream-read-unread", async (t) => {
    const label = t.label();
    const stream = await t.main.readableTracked(label);
    await stream.cancel();
    await t.until(() => t.main.disposeCount(label), 1);
  });
  test("stream-send-sum", async (t) => eq(await t.main.sumReadable(of(1, 2, 3)), 6));
  test("stream-send-collect", async (t) => eq(await t.main.collect(of("a", { b: 1 }, null)), ["a", { b: 1 }, null]));
  test("stream-send-empty", async (t) => eq(await t.main.collect(of()), []));
  test("stream-send-large", async (t) => {
    const chunk = "y".repeat(50_000);
    eq(await t.main.countLength(of(...Array(40).fill(chunk))), { n: 40, len: 2_000_000 });
  });
  test("stream-send-error", async (t) => {
    let sent = 0;
    const broken = new ReadableStream({
      pull(controller) {
        if (sent++ < 2) controller.enqueue(sent);
        else controller.error(new Error("source broke"));
      },
    });
    eq(await t.main.collectThenError(broken), { chunks: [1, 2], error: "source broke" });
  });
  test("stream-send-read-one", async (t) => {
    const cancelled = Promise.withResolvers();
    const endless = new ReadableStream({ pull: (c) => c.enqueue("more"), cancel: () => cancelled.resolve() });
    eq(await t.main.readOne(endless), "more");
    await cancelled.promise;
  });
  test("stream-send-ignored", async (t) => {
    const cancelled = Promise.withResolvers();
    const endless = new ReadableStream({ pull: (c) => c.enqueue("more"), cancel: () => cancelled.resolve() });
    eq(await t.main.ignoreStream(endless), "ignored");
    await cancelled.promise;
  });
  test("sink-write-close", async (t) => {
    const writer = (await t.main.makeSink("a")).getWriter();
    await writer.write({ a: 1 });
    await writer.write(undefined);
    await writer.close();
    eq(await t.main.sinkState("a"), {
      chunks: [{ t: "obj", v: [["a", { t: "num", v: 1 }]] }, { t: "undef" }], closed: true, aborted: null,
    });
  });
  test("sink-abort", async (t) => {
    const writer = (await t.main.makeSink("a")).getWriter();
    await writer.write(1);
    await writer.abort(new Error("stop it"));
    await t.until(async () => (await t.main.sinkState("a")).aborted, "stop it");
  });
  test("sink-fails", async (t) => {
    const writer = (await t.main.makeFailingSink(1)).getWriter();
    await writer.write("fits");
    writer.write("does not").catch(() => {});
    eq(await outcome(writer.closed), error("Error", "Write limit exceeded"));
  });
  test("transform", async (t) => {
    const { readable, writable } = await t.main.makeTransform();
    const read = collect(readable);
    const writer = writable.getWriter();
    for (const word of ["reef", "knot"]) await writer.write(word);
    await writer.close();
    eq(await read, ["REEF", "KNOT"]);
  });
  test("client-sink", async (t) => {
    const got = [];
    let closed = false;
    const sink = new WritableStream({ write: (chunk) => { got.push(chunk); }, close: () => { closed = true; } });
    eq(await t.main.writeTo(sink, ["a", 1, null]), 3);
    eq([got, closed], [["a", 1, null], true]);
  });
  test("client-sink-fails", async (t) => {
    let written = 0;
    const sink = new WritableStream({ write: () => { if (++written === 3) throw new Error("sink full"); } });
    eq(await outcome(t.main.writeTo(sink, ["a", "b", "c", "d"])), error("Error", "sink full"));
  });
  test("client-sink-aborted", async (t) => {
    const aborted = Promise.withResolvers();
    eq(await t.main.writeAndAbort(new WritableStream({ abort: aborted.resolve }), "x", "why not"), "aborted");
    eq(await aborted.promise, "why not");
  });
  test("client-sink-dropped", async (t) => {
    const aborted = Promise.withResolvers();
    eq(await t.main.writeAndDrop(new WritableStream({ abort: aborted.resolve }), "x"), "dropped");
    eq((await aborted.promise).message, "WritableStream RPC stub was disposed without calling close()");
  });
  test("client-sink-slow-is-waited-for", async (t) => {
    const open = Promise.withResolvers();
    const sink = new WritableStream({ write: () => open.promise });
    const done = t.main.writeMany(sink, 40, 40_000);
    // Some writes are let through before the first is acknowledged, and not all.
    let progress = 0;
    while (progress < 5) progress = await t.main.writeProgress();
    for (let i = 0; i < 20; i++) progress = await t.main.writeProgress();
    eq(progress >= 5 && progress <= 10, true);
    open.resolve();
    eq(await done, 40);
  });
  test("blob", async (t) => {
    const blob = await t.main.echoBlob(new Blob(["hello blob"], { type: "text/plain" }));
    eq([blob.type, await blob.text()], ["text/plain", "hello blob"]);
  });
}
