// The far end of the line on Cloudflare: a Worker that has the bindings and answers for each by its name.
//
// Uploaded for a preview session, or deployed behind Access. `SETTINGS` stands in front of this text in every upload:
//   { types: { BINDING: TYPE, … }, access?: { issuer, certificates, audiences } }
import { EmailMessage } from "cloudflare:email";
import { RpcTarget, ServiceStub } from "cloudflare:workers";
import { newWorkersWebSocketRpcResponse } from "capnweb";
import { splice } from "../../bowline-workerd/shim/tunnel.js";
import { admit } from "./access.js";

const HEADER_PREFIX = "mf-header-";
const RAW_MESSAGE = "EmailMessage::raw";

class Refusal extends Error {}

function find(env, name) {
  // Only what was uploaded as a binding is one: settings and secrets of a deployed Worker are in `env` too.
  if (name === null || !Object.hasOwn(SETTINGS.types, name) || env[name] === undefined) {
    throw new Refusal(name === null ? "Binding not found" : `Binding "${name}" not found`);
  }
  return { binding: env[name], type: SETTINGS.types[name] };
}

// The Worker of a dispatch namespace that `options` name, or the binding itself.
function chosen({ binding, type }, options) {
  if (type !== "dispatch_namespace" || options === null) return binding;
  let parsed;
  try {
    parsed = JSON.parse(options);
  } catch {
    throw new Refusal("MF-Dispatch-Namespace-Options is not JSON");
  }
  return binding.get(parsed?.name, parsed?.args, parsed?.options);
}

// A dispatcher gives a stub, which travels as it is; where its bindings are made of JavaScript, an object that does not.
function forwarded(target) {
  if (target instanceof ServiceStub) return target;
  return new Proxy(new RpcTarget(), {
    get(own, name) {
      // `then` is asked for by whoever awaits it.
      return typeof name === "symbol" || name === "then" ? own[name] : (...args) => target[name](...args);
    },
  });
}

// What a session's main object is. Most bindings are one as they are; these are made of things that do not travel.
const mains = {
  send_email: (binding) => ({
    send(message) {
      const raw = message !== null && typeof message === "object" && RAW_MESSAGE in message;
      return binding.send(raw ? new EmailMessage(message.from, message.to, message[RAW_MESSAGE]) : message);
    },
  }),
  hyperdrive: (binding) => ({
    getConnectionString: () => binding.connectionString,
    connect() {
      const { readable, writable } = binding.connect();
      return { readable, writable };
    },
  }),
  analytics_engine: (binding) => ({
    writeDataPoint(event) {
      binding.writeDataPoint(event);
    },
  }),
};

function rpc(request, env, url) {
  const found = find(env, url.searchParams.get("MF-Binding"));
  const main = mains[found.type]?.(found.binding) ?? chosen(found, url.searchParams.get("MF-Dispatch-Namespace-Options"));
  return newWorkersWebSocketRpcResponse(request, found.type === "dispatch_namespace" ? forwarded(main) : main);
}

function connect(request, env, context) {
  const address = request.headers.get("MF-Connect-Address");
  const { binding } = find(env, request.headers.get("MF-Binding"));
  const socket = binding.connect(address);
  const { 0: client, 1: server } = new WebSocketPair();
  server.accept();
  // How it ended has been told to the other end by a close code.
  const carried = splice(socket, server)
    .catch(() => {})
    .finally(() => socket.close().catch(() => {}));
  context.waitUntil(carried);
  return new Response(null, { status: 101, webSocket: client });
}

async function fetchThrough(request, env) {
  const found = find(env, request.headers.get("MF-Binding"));
  const target = chosen(found, request.headers.get("MF-Dispatch-Namespace-Options"));
  const url = request.headers.get("MF-URL");
  if (url === null) throw new Refusal("MF-URL is missing");
  const headers = new Headers();
  for (const [name, value] of request.headers) {
    if (name.startsWith(HEADER_PREFIX)) headers.append(name.slice(HEADER_PREFIX.length), value);
    else if (name === "upgrade") headers.set(name, value);
  }
  // Redirects are the caller's to see.
  const response = await target.fetch(url, new Request(request, { headers, redirect: "manual" }));
  if (response.webSocket) return response;
  const marked = new Response(response.body, response);
  // Says to whoever looks for the block page of something in between that the binding itself has answered.
  marked.headers.set("MF-Forwarded-Response", "true");
  return marked;
}

export default {
  async fetch(request, env, context) {
    try {
      const refused = SETTINGS.access && (await admit(request, SETTINGS.access));
      if (refused) return refused;
      const url = new URL(request.url);
      const upgrade = request.headers.get("Upgrade");
      if (upgrade?.toLowerCase() === "websocket" && request.headers.has("MF-Connect-Address")) {
        return connect(request, env, context);
      }
      if (upgrade !== null && url.searchParams.has("MF-Binding")) return rpc(request, env, url);
      return await fetchThrough(request, env);
    } catch (error) {
      const status = error instanceof Refusal ? 400 : 500;
      return new Response(`${error?.message ?? error}`, { status });
    }
  },
};
