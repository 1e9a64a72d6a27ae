// The reference test server: npm capnweb behind the interface that the Rust test server has too, and
// scripted peers for the client tests. Prints `listening 127.0.0.1:PORT` and runs until killed.
import { createServer } from "node:http";
import { RpcSession, WebSocketTransport, nodeHttpBatchRpcResponse } from "capnweb";
import { WebSocketServer } from "ws";
import { Main } from "./main.mjs";
import { runScript, scriptSeen, SCRIPTS } from "./scripts.mjs";

function rewriteError(e) {
  const replacement = new TypeError("rewritten: " + e.message);
  replacement.stack = "test stack";
  replacement.code = "E_REWRITTEN";
  return replacement;
}

const ENDPOINTS = {
  "/ws": {},
  "/ws-limits": { options: { limits: { maxBigIntDigits: 8, maxDepth: 8, maxMessageSize: 2000 } } },
  "/ws-rewrite": { options: { onSendError: rewriteError } },
  "/ws-nomain": { noMain: true },
};

const CORS = { "Access-Control-Allow-Origin": "*" };

// A rejection nobody waits for must not end the server; it is worth a line for the reader.
process.on("unhandledRejection", (e) => console.error("unhandled rejection:", e));

const http = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const answer = (status, body = "", headers = {}) => {
    request.resume();
    response.writeHead(status, headers);
    response.end(body);
  };
  if (pathname === "/batch") {
    nodeHttpBatchRpcResponse(request, response, new Main({}), { headers: CORS }).catch((e) => {
      if (!response.headersSent) answer(500, `${e}`, CORS);
    });
  } else if (pathname === "/batch-500") answer(500);
  else if (pathname === "/batch-empty") answer(200);
  else if (pathname === "/batch-garbage") answer(200, "this is not JSON");
  else if (pathname.startsWith("/script-seen/")) {
    scriptSeen(pathname.slice("/script-seen/".length)).then(
      (seen) => answer(200, JSON.stringify(seen), { "content-type": "application/json" }),
      () => answer(404),
    );
  } else if (Object.hasOwn(ENDPOINTS, pathname) || pathname.startsWith("/script/")) answer(400);
  else answer(404);
});

const sockets = new WebSocketServer({ noServer: true });
http.on("upgrade", (request, socket, head) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const script = pathname.startsWith("/script/") ? pathname.slice("/script/".length) : undefined;
  if (!Object.hasOwn(ENDPOINTS, pathname) && !Object.hasOwn(SCRIPTS, script ?? "")) {
    socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => {
    if (script !== undefined) {
      runScript(script, ws);
      return;
    }
    const { options, noMain } = ENDPOINTS[pathname];
    const context = {};
    context.session = new RpcSession(
      new WebSocketTransport(ws), noMain ? undefined : new Main(context), options,
    );
  });
});

const listenAt = process.argv.indexOf("--listen");
const [host, port] = (listenAt < 0 ? "127.0.0.1:0" : process.argv[listenAt + 1]).split(":");
http.listen(Number(port), host, () => {
  console.log(`listening ${host}:${http.address().port}`);
});
