// What the VPC binding does: a TCP stream, an HTTP request and a WebSocket to hosts of a private network.
import { within } from "./within.js";

// One line to an address, one line back.
export async function exchangeLine(vpc, address, line) {
  const socket = vpc.connect(address);
  try {
    const writer = socket.writable.getWriter();
    await within("write", writer.write(new TextEncoder().encode(`${line}\n`)));
    const reader = socket.readable.pipeThrough(new TextDecoderStream()).getReader();
    let answer = "";
    while (!answer.includes("\n")) {
      const { value, done } = await within("read", reader.read());
      if (done) break;
      answer += value;
      if (answer.length > 65536) throw new Error("the answer is longer than a line");
    }
    if (answer === "") throw new Error(`${address} closed without an answer`);
    return answer.split("\n")[0].trimEnd();
  } finally {
    socket.close().catch(() => {});
  }
}

export async function fetchText(vpc, url) {
  const response = await within("fetch", vpc.fetch(url));
  const body = await within("read", response.text());
  if (!response.ok) throw new Error(body || `${url} answered ${response.status}`);
  return { status: response.status, body };
}

// One message to a WebSocket, one message back.
export async function exchangeMessage(vpc, url, message) {
  const response = await within("fetch", vpc.fetch(url, { headers: { Upgrade: "websocket" } }));
  const socket = response.webSocket;
  if (!socket) throw new Error((await response.text()) || `${url} answered ${response.status}`);
  socket.accept();
  const answer = new Promise((resolve, reject) => {
    socket.addEventListener("message", (event) => resolve(event.data));
    socket.addEventListener("close", (event) => reject(new Error(`closed: ${event.code} ${event.reason}`)));
    socket.addEventListener("error", (event) => reject(new Error(event.message ?? "the WebSocket failed")));
  });
  socket.send(message);
  try {
    return await within("read", answer);
  } finally {
    socket.close(1000, "done");
  }
}
