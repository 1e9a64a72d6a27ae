// The server of the JavaScript pair: `node server.js --listen 127.0.0.1:0`.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { newWebSocketRpcSession, nodeHttpBatchRpcResponse, RpcTarget } from "capnweb";
import { WebSocketServer } from "ws";

class Counter extends RpcTarget {
  #value;

  constructor(value) {
    super();
    this.#value = value;
  }

  increment(by = 1) {
    this.#value += by;
    return this.#value;
  }
}

class Main extends RpcTarget {
  square(i) {
    return i * i;
  }

  echo(value) {
    return value;
  }

  makeCounter(value) {
    return new Counter(value);
  }

  list(length) {
    return Array.from({ length }, (_, i) => i);
  }

  async sumStream(stream) {
    let total = 0;
    for await (const chunk of stream) total += chunk.byteLength;
    return total;
  }

  makeStream(total, chunk) {
    // One chunk for all: filling memory is not what is measured.
    const full = new Uint8Array(chunk).fill(120);
    let left = total;
    return new ReadableStream({
      pull(controller) {
        if (left === 0) return controller.close();
        const length = Math.min(left, chunk);
        left -= length;
        controller.enqueue(length === chunk ? full : full.subarray(0, length));
      },
    });
  }
}

const { values } = parseArgs({ options: { listen: { type: "string", default: "127.0.0.1:0" } } });
const colon = values.listen.lastIndexOf(":");
const [host, port] = [values.listen.slice(0, colon), Number(values.listen.slice(colon + 1))];

const server = createServer((request, response) => {
  if (request.url !== "/batch") return response.writeHead(404).end();
  nodeHttpBatchRpcResponse(request, response, new Main()).catch((error) => {
    console.error(error);
    response.destroy();
  });
});
const sockets = new WebSocketServer({ server, path: "/ws", perMessageDeflate: false });
sockets.on("connection", (socket) => newWebSocketRpcSession(socket, new Main()));
server.listen(port, host, () => {
  const { address, port } = server.address();
  console.log(`listening ${address}:${port}`);
});
