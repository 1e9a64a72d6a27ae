// The connect flow's bytes between a socket and a WebSocket, the same at both ends of the line.

// A close reason holds 123 bytes (RFC 6455, 5.5.1); a character is not cut.
function cutReason(text) {
  const bytes = new TextEncoder().encode(text);
  let end = Math.min(bytes.length, 123);
  while (end > 0 && end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
  return new TextDecoder().decode(bytes.subarray(0, end));
}

// Bytes both ways until either side ends. Close codes: 1000 is the end of the stream, 1011 a failure with its reason.
export async function splice(socket, webSocket) {
  // By its compatibility date a Worker gets blobs otherwise, which cannot be read at once.
  webSocket.binaryType = "arraybuffer";
  const writer = socket.writable.getWriter();
  const reader = socket.readable.getReader();
  let open = true;
  const close = (code, reason) => {
    if (!open) return;
    open = false;
    try {
      webSocket.close(code, reason === undefined ? undefined : cutReason(reason));
    } catch {
      // Closed by the other side in the meantime.
    }
  };
  const inward = new Promise((resolve, reject) => {
    let writes = Promise.resolve();
    webSocket.addEventListener("message", ({ data }) => {
      const chunk = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
      writes = writes.then(() => writer.write(chunk));
      writes.catch((error) => {
        close(1011, `${error?.message ?? error}`);
        reject(error);
      });
    });
    webSocket.addEventListener("close", ({ code, reason }) => {
      open = false;
      if (code === 1011) {
        // Both ends of the stream stay locked: closing them would make a failure look like an end to user code.
        reject(new Error(reason || "the connection failed at the far end"));
      } else {
        writes.then(() => writer.close()).then(resolve, reject);
      }
    });
    webSocket.addEventListener("error", () => {
      open = false;
      reader.cancel().catch(() => {});
      reject(new Error("the connection to the far end broke"));
    });
  });
  const outward = (async () => {
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done || !open) break;
        webSocket.send(value);
      }
      close(1000);
    } catch (error) {
      close(1011, `${error?.message ?? error}`);
      throw error;
    }
  })();
  // There is no half-close: what the socket still has to say after the other end has gone is nobody's.
  await Promise.all([inward.then(() => reader.cancel().catch(() => {})), outward]);
}
