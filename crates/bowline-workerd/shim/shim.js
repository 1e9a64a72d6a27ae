// Stands behind every binding that workerd cannot send to Rust by itself: calls become Cap'n Web over a WebSocket,
// connect() becomes bytes over a WebSocket. `env.LINE` is Bowline's unix socket; `ctx.props.binding` is the name.
import { WorkerEntrypoint } from "cloudflare:workers";
import { newWebSocketRpcSession } from "capnweb";
import { splice } from "./tunnel.js";

// The host is never looked up: every request ends at the unix socket.
const LINE = "http://bowline/";
// A refusal is read up to here; what follows would only bury its first line.
const REFUSAL_LIMIT = 8192;

async function refusal(response, what) {
  let text = "";
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  while (reader && text.length < REFUSAL_LIMIT) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  reader?.cancel().catch(() => {});
  text = text.slice(0, REFUSAL_LIMIT).trim();
  return new Error(text === "" ? `${what} was refused with status ${response.status}` : text);
}

async function upgrade(env, url, headers, what) {
  const response = await env.LINE.fetch(url, { headers: { ...headers, Upgrade: "websocket" } });
  if (!response.webSocket) throw await refusal(response, what);
  response.webSocket.accept();
  return response.webSocket;
}

export default class extends WorkerEntrypoint {
  // Opened by the first call, never by fetch(): a refused upgrade then has somebody to be told to.
  #session;

  constructor(ctx, env) {
    super(ctx, env);
    const call = (name) => {
      const method = async (...args) => {
        const { target } = await (this.#session ??= this.#open());
        return target[name](...args);
      };
      // What is awaited and not called is the read of a property.
      method.then = (resolve, reject) =>
        (this.#session ??= this.#open()).then(({ target }) => target[name]).then(resolve, reject);
      return method;
    };
    return new Proxy(this, {
      get(target, name) {
        // `then` is asked for by whoever awaits a binding; answered with a function it would become a call.
        if (typeof name === "symbol" || name === "then") return undefined;
        const own = Reflect.get(target, name);
        if (own === undefined) return call(name);
        return typeof own === "function" ? own.bind(target) : own;
      },
    });
  }

  async #open(options) {
    const { binding } = this.ctx.props;
    let url = `${LINE}?MF-Binding=${encodeURIComponent(binding)}`;
    if (options !== undefined) url += `&MF-Dispatch-Namespace-Options=${encodeURIComponent(options)}`;
    // In an object, for a promise must not ask the far end whether it has a `then`.
    return { target: newWebSocketRpcSession(await upgrade(this.env, url, {}, `binding "${binding}"`)) };
  }

  // Only a dispatcher's module can reach these two: user code has no fetcher of that binding.
  async "bowline:call"(options, name, args) {
    const { target } = await this.#open(options);
    return target[name](...args);
  }

  async "bowline:read"(options, name) {
    const { target } = await this.#open(options);
    return target[name];
  }

  async fetch(request) {
    const { binding, dispatcher } = this.ctx.props;
    const headers = new Headers({ "MF-Binding": binding, "MF-URL": request.url });
    for (const [name, value] of request.headers) {
      if (dispatcher && name === "bowline-dispatch") {
        headers.set("MF-Dispatch-Namespace-Options", value);
        continue;
      }
      headers.set(name === "upgrade" ? name : `MF-Header-${name}`, value);
    }
    return this.env.LINE.fetch(LINE, new Request(request, { headers, redirect: "manual" }));
  }

  async connect(socket) {
    const { binding } = this.ctx.props;
    const { localAddress } = await socket.opened;
    if (!localAddress) throw new Error(`binding "${binding}": connect() came without an address`);
    const headers = { "MF-Binding": binding, "MF-Connect-Address": localAddress };
    const what = `binding "${binding}": connect to ${localAddress}`;
    try {
      await splice(socket, await upgrade(this.env, LINE, headers, what));
    } catch (error) {
      // User code sees "Network connection lost." and no more: workerd does not carry a reason across a stream.
      console.error(`${what}: ${error?.message ?? error}`);
      throw error;
    }
  }
}
