// What the page hears while something is done: every call on a binding as it starts and ends, and what comes of it.

// Answers with a stream of server-sent events. `work` gets `emit(event, data)` and `call(binding, text, make, says)`; when
// the reader leaves, the next of either fails, which ends the work.
export function events(context, work) {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  const emit = (event, data) => writer.write(encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));

  let calls = 0;
  const call = async (binding, text, make, says = () => "") => {
    const id = calls++;
    await emit("call", { id, binding, text });
    const started = Date.now();
    const ended = (more) => emit("call", { id, binding, text, ms: Date.now() - started, ...more });
    try {
      const result = await make();
      await ended({ ok: true, says: says(result) });
      return result;
    } catch (error) {
      await ended({ ok: false, says: error.message });
      throw error;
    }
  };

  const done = (async () => {
    try {
      await work({ emit, call });
      await emit("done", {});
    } catch (error) {
      await emit("problem", { error: error.message }).catch(() => {});
    } finally {
      await writer.close().catch(() => {});
    }
  })();
  context.waitUntil(done);
  return new Response(readable, { headers: { "Content-Type": "text/event-stream", "Cache-Control": "no-store" } });
}

// The `data` of each event of a stream such as a model's, until `[DONE]`.
export async function* data(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the stream ended before it was done");
      rest += value;
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const text = line.slice(5).trim();
        if (text === "[DONE]") return;
        yield JSON.parse(text);
      }
    }
  } finally {
    // Whoever stops reading stops the model.
    await reader.cancel().catch(() => {});
  }
}
