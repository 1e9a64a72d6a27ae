// Scripted peers: a raw WebSocket that answers the first pull with literal frames.

const MAX_NESTING = 100_000;

// Each entry gets the socket and the id that was pulled.
const answers = {
  "abort-on-pull": (ws) => ws.send('["abort",["error","RangeError","peer aborted"]]'),
  "abort-string": (ws) => ws.send('["abort","just a string"]'),
  "garbage-on-pull": (ws) => ws.send("this is not JSON"),
  "unknown-message": (ws) => ws.send('["frobnicate",1]'),
  "bad-expression": (ws, id) => ws.send(`["resolve",${id},["frobnicate",1]]`),
  "unknown-export": (ws, id) => ws.send(`["resolve",${id},["import",99]]`),
  "close-1011": (ws) => ws.close(1011, "internal trouble"),
  "close-1000": (ws) => ws.close(1000),
  "stray-resolve": (ws, id) => {
    ws.send('["resolve",77,{"stray":["export",-7]}]');
    ws.send('["reject",78,["error","Error","stray"]]');
    ws.send('["resolve",-79,1]');
    ws.send(`["resolve",${id},"ok"]`);
  },
  "deep-nesting": (ws, id) =>
    ws.send(`["resolve",${id},${"[".repeat(MAX_NESTING)}1${"]".repeat(MAX_NESTING)}]`),
  "legacy-error": (ws, id) =>
    ws.send(`["reject",${id},["error","TypeError","old style","TypeError: old style\\n    at peer"]]`),
  "reject-nonerror": (ws, id) => ws.send(`["reject",${id},{"code":5}]`),
  "proto-keys": (ws, id) =>
    ws.send(
      `["resolve",${id},{"__proto__":{"polluted":true},"toJSON":["export",-1],"constructor":{"x":1},"normal":"kept"}]`,
    ),
  "padded-bytes": (ws, id) => ws.send(`["resolve",${id},["bytes","+w=="]]`),
  "promise-chain": (ws, id) => {
    ws.send(`["resolve",${id},["promise",-1]]`);
    ws.send('["resolve",-1,["promise",-2]]');
    ws.send('["resolve",-2,"end of the chain"]');
  },
};

// Acknowledges no write until none has come for a while, then all at once, later ones as they come. The
// call is answered, when the stream has ended, with the number of messages before the first acknowledgement.
const QUIET_MS = 100;

function holdAcks(ws) {
  let nextId = 1;
  let pulled;
  let held = [];
  let before;
  let closed = false;
  let timer;
  const ack = (id) => ws.send(JSON.stringify(["resolve", id, ["undefined"]]));
  const finish = () => {
    if (closed && before !== undefined && pulled !== undefined) {
      ws.send(JSON.stringify(["resolve", pulled, before]));
      pulled = undefined;
    }
  };
  const letThrough = () => {
    before = held.length;
    held.forEach(ack);
    held = undefined;
    finish();
  };
  ws.on("close", () => clearTimeout(timer));
  ws.on("message", (data) => {
    const [type, body] = JSON.parse(data);
    if (type === "pull") {
      pulled ??= body;
      finish();
    }
    if (type === "push" || type === "pipe") nextId++;
    if (type !== "stream") return;
    const id = nextId++;
    if (body[2][0] === "close" || body[2][0] === "abort") closed = true;
    if (held) {
      held.push(id);
      clearTimeout(timer);
      timer = setTimeout(letThrough, QUIET_MS);
    } else {
      ack(id);
      finish();
    }
  });
}

function answerFirstPull(answer, ws) {
  let done = false;
  ws.on("message", (data) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (done || message[0] !== "pull") return;
    done = true;
    answer(ws, message[1]);
  });
}

export const SCRIPTS = { "hold-acks": holdAcks };
for (const [name, answer] of Object.entries(answers)) SCRIPTS[name] = (ws) => answerFirstPull(answer, ws);

// What the last client of a script sent, up to its close; see GET /script-seen/NAME.
const seen = new Map();

export const scriptSeen = (name) => seen.get(name) ?? Promise.reject(new Error(`no client yet: ${name}`));

export function runScript(name, ws) {
  const frames = [];
  ws.on("message", (data, binary) => frames.push(binary ? { binary: data.toString("hex") } : data.toString()));
  seen.set(name, new Promise((resolve) => {
    ws.on("close", (code, reason) => resolve({ frames, close: { code, reason: reason.toString() } }));
  }));
  SCRIPTS[name](ws);
}
