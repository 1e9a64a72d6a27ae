// Plays raw frames to npm capnweb's server and to another, and compares what they answer:
// `differential.mjs --theirs H:P --ours H:P`. One JSON line for each conversation that differs, then
// {"passed":N,"failed":N,"different":N}.
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { DIFFERENT, ENVELOPES, EXPRESSIONS } from "./conversations/expressions.mjs";
import { CONVERSATIONS } from "./conversations/sessions.mjs";

const { values: options } = parseArgs({ options: { theirs: { type: "string" }, ours: { type: "string" } } });
const AT_ONCE = 16;
const DEADLINE_MS = 15_000;
// Pauses are for machines with nothing else to do.
const SLOWER = 3;
// How long the last call takes: what the frames before it cause comes earlier.
const SETTLE_MS = 100;

let runs = 0;

function play(address, { path, frames }, run) {
  return new Promise((resolve) => {
    const ws = new WebSocket(`ws://${address}${path}`, { maxPayload: 1 << 28 });
    const got = [];
    const timer = setTimeout(() => end("deadline passed"), DEADLINE_MS);
    const end = (last) => {
      clearTimeout(timer);
      ws.terminate();
      resolve(last === undefined ? got : [...got, last]);
    };
    const takesAnId = (frame) => /^\s*\["(push|stream|pipe)"/.test(frame);
    ws.on("open", async () => {
      let last = 1;
      for (const frame of frames) {
        if (typeof frame === "number") {
          await new Promise((wake) => setTimeout(wake, frame * SLOWER));
          continue;
        }
        const text = frame.binary ?? (typeof frame === "string" ? frame : JSON.stringify(frame).replaceAll('"@', `"${run}-`));
        if (takesAnId(text)) last++;
        if (ws.readyState !== WebSocket.OPEN) return;
        ws.send(frame.binary === undefined ? text : Buffer.from(text), { binary: frame.binary !== undefined });
      }
      ws.send(JSON.stringify(["push", ["pipeline", 0, ["delay"], [SETTLE_MS, "the last"]]]));
      ws.send(JSON.stringify(["pull", last]));
      ws.on("message", (data) => {
        const text = data.toString();
        if (text === `["resolve",${last},"the last"]` || (path === "/ws-nomain" && text.startsWith(`["reject",${last},`))) end();
      });
    });
    ws.on("message", (data) => {
      const text = data.toString();
      if (!text.includes('"the last"')) got.push(text);
    });
    ws.on("close", (code, reason) => end(`close ${code} ${reason}`));
    ws.on("error", (e) => end(`error ${e.message}`));
  });
}

// Errors of an application that keeps what it was lent, which ours allows.
const APPLICATION = ["already disposed", "after it was disposed", "owned payload shouldn't"];

// A form in which right answers are equal: promises that settled stand where they were named, one that was rejected
// rejects the whole; order does not count, nor do our ids; texts of parsers are their own.
function canonical(answers) {
  const settled = new Map();
  const parsed = answers.map((text) => (text.startsWith("[") ? JSON.parse(text) : text));
  for (const [word, id, value] of parsed) {
    if ((word === "resolve" || word === "reject") && id < 0) settled.set(id, { word, value });
  }
  let rejection;
  const fill = (value) => {
    if (Array.isArray(value)) {
      const known = value.length === 2 && value[0] === "promise" && settled.get(value[1]);
      if (!known) return value.map(fill);
      if (known.word === "resolve") return fill(known.value);
      rejection ??= known;
    } else if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fill(member)]));
    }
    return value;
  };
  const seen = new Set();
  const lines = [];
  for (let frame of parsed) {
    if (Array.isArray(frame)) {
      const [word, id] = frame;
      const named = (word === "resolve" || word === "reject") && id < 0;
      if (named && frame[2] !== "Tried to resolve a non-promise stub." && promised(parsed, id)) continue;
      if (word === "release" && id < 0) {
        // JavaScript counts an id that comes twice once.
        if (seen.has(id)) continue;
        seen.add(id);
        frame = [word, id];
      }
      if (word === "resolve") {
        rejection = undefined;
        const value = fill(frame[2]);
        frame = rejection === undefined ? [word, id, value] : ["reject", id, rejection.value];
      }
    }
    const text = JSON.stringify(frame)
      .replace(/(SyntaxError|rewritten: (?:Unexpected|a value)).*/, "$1")
      .replace(/^"close 3000 .*(JSON|expected at byte|BigInt).*/, "close 3000 SyntaxError")
      .replace(/Invalid state: WritableStream is closed",null,\{"code":"ERR_INVALID_STATE"\}/g, 'This WritableStream has been closed."')
      .replace(/,null,\{"code":"ERR_INVALID_URL".*?\}/g, "").replace(/,null,\{"cause":\["error","TypeError","Invalid URL"\]\}/g, "")
      .replace(/\["(export|writable)",-\d+\]/g, '["$1",N]');
    lines.push(text);
  }
  return lines.sort();
}

const promised = (frames, id) => frames.some((frame) => JSON.stringify(frame).includes(`["promise",${id}]`));

const call = (method, expression) => `["push",["pipeline",0,["${method}"],[${expression}]]]`;
const SQUARE = [["push", ["pipeline", 0, ["square"], [3]]], ["pull", 1]];
const conversations = [...CONVERSATIONS];
const add = (reason, ...frames) => conversations.push({ path: "/ws", reason, frames });
// Resolving the main object, a count that is not finite, and stubs and dates as reasons.
const ODD = ['["resolve",0,1]', '["reject",0,1]', '["release",0,1e400]', '["abort",["export",-1]]', '["abort",["date",0]]'];
for (const envelope of ENVELOPES) add(ODD.includes(envelope) ? "nothing honest sends it" : undefined, envelope, ...SQUARE);
for (const binary of ["", "[]"]) add(undefined, { binary }, ...SQUARE);
const reasons = new Map();
for (const [reason, list] of DIFFERENT) for (const expression of list) reasons.set(JSON.stringify(expression), reason);
for (const expression of EXPRESSIONS) {
  const text = JSON.stringify(expression);
  const reason = reasons.get(text);
  add(reason, `["push",${text}]`, ["pull", 1]);
  add(reason, call("describe", text), ["pull", 1]);
  add(reason, call("echo", text), ["pull", 1]);
  add(reason, call("describe", `{"a":[[${text}]]}`), ["pull", 1]);
  add(reason, ["pipe"], call("describe", text), ["pull", 2],
    ["stream", ["pipeline", 1, ["write"], [["bytes", "AQI"]]]], ["stream", ["pipeline", 1, ["close"], []]]);
  add(reason, `["resolve",77,${text}]`, ...SQUARE);
  add(reason, `["reject",77,${text}]`, ...SQUARE);
}

// Compares once. A machine that is busy may change what comes before what, so what differs is played again, alone.
async function agree(conversation) {
  const run = ++runs;
  const [theirs, ours] = await Promise.all([
    play(options.theirs, conversation, run), play(options.ours, conversation, run),
  ]);
  const [wanted, found] = [canonical(theirs), canonical(ours)];
  const alive = !found.some((line) => /^"(error|deadline)/.test(line));
  if (alive && JSON.stringify(wanted) === JSON.stringify(found)) return "passed";
  const excused = conversation.reason !== undefined || APPLICATION.some((text) => wanted.join().includes(text));
  return alive && excused ? "different" : { ...conversation, theirs: wanted, ours: found };
}

const counts = { passed: 0, failed: 0, different: 0 };
const again = [];
let next = 0;
async function worker() {
  while (next < conversations.length) {
    const conversation = conversations[next++];
    const verdict = await agree(conversation);
    if (typeof verdict === "string") counts[verdict]++;
    else again.push(conversation);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, worker));
for (const conversation of again) {
  let verdict;
  for (let tries = 0; tries < 3 && typeof verdict !== "string"; tries++) verdict = await agree(conversation);
  if (typeof verdict === "string") counts[verdict]++;
  else {
    counts.failed++;
    console.log(JSON.stringify(verdict).slice(0, 4000));
  }
}
process.stdout.write(JSON.stringify(counts) + "\n", () => process.exit(0));
