// npm capnweb inside workerd. As a server: /ws and /batch offer the main object of the test server. As a client:
// POST /run, with the urls {ws, http} of a server as JSON, runs the cases there and answers with a line for each.
import * as lib from "capnweb";
import { RpcSession, WebSocketTransport, newHttpBatchRpcResponse } from "capnweb";
import { Main } from "./main.mjs";
import { runCases } from "./suite.mjs";

export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/batch") return await newHttpBatchRpcResponse(request, new Main({}));
    if (pathname === "/ws") {
      const { 0: client, 1: server } = new WebSocketPair();
      server.accept();
      const context = {};
      context.session = new RpcSession(new WebSocketTransport(server), new Main(context));
      return new Response(null, { status: 101, webSocket: client });
    }
    if (pathname !== "/run") return new Response("not found", { status: 404 });
    const lines = [];
    const summary = await runCases(lib, await request.json(), (line) => lines.push(line));
    return new Response([...lines, summary].map((line) => JSON.stringify(line)).join("\n"));
  },
};
