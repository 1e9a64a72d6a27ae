// The client of the JavaScript pair: `node client.js --ws URL --http URL --row NAME --rounds N`.
import { parseArgs } from "node:util";
import { newHttpBatchRpcSession, newWebSocketRpcSession } from "capnweb";
import { WebSocket } from "ws";

// A round lasts this long, where the row has no fixed amount of work.
const ROUND_MS = 400;
const WINDOW = 64;
const FLOOD = 20_000;
const STREAM = 64 * 1024 * 1024;
const CHUNK = 64 * 1024;

const { values } = parseArgs({
  options: {
    ws: { type: "string" },
    http: { type: "string" },
    row: { type: "string" },
    rounds: { type: "string", default: "1" },
  },
});

// One session for all rounds; `batch` has a session a batch by nature.
let socket;
let api;

function check(is, wanted) {
  if (is !== wanted) throw new Error(`${values.row}: got ${is} and not ${wanted}`);
}

// Does `work` again and again for a round; it returns how much it did.
async function repeat(work) {
  const start = performance.now();
  let done = 0;
  let elapsed;
  do {
    done += await work(done);
    elapsed = performance.now() - start;
  } while (elapsed < ROUND_MS);
  return done / (elapsed / 1000);
}

// 1000 rows of 99 bytes each: 100 kB of JSON.
const json = Array.from({ length: 1000 }, (_, i) => ({
  id: 1000 + i,
  name: `item ${1000 + i}`,
  price: 1000.5 + i,
  active: true,
  tags: ["red", "blue"],
  note: "x".repeat(8),
}));
const bytes = Uint8Array.from({ length: 1_000_000 }, (_, i) => i % 251);

// A row is its unit and one round, which returns the rate. In calls/s, each call of a server's method is one. In MB/s,
// what is echoed counts once.
const rows = {
  sequential: {
    unit: "calls/s",
    round: () =>
      repeat(async (i) => {
        check(await api.square(i), i * i);
        return 1;
      }),
  },

  concurrent: {
    unit: "calls/s",
    async round() {
      const rates = Array.from({ length: WINDOW }, (_, lane) =>
        repeat(async () => {
          check(await api.square(lane), lane * lane);
          return 1;
        }),
      );
      return (await Promise.all(rates)).reduce((sum, rate) => sum + rate, 0);
    },
  },

  flood: {
    unit: "calls/s",
    async round() {
      const start = performance.now();
      const answers = await Promise.all(Array.from({ length: FLOOD }, (_, i) => api.square(i)));
      const seconds = (performance.now() - start) / 1000;
      check(answers.at(-1), (FLOOD - 1) ** 2);
      return FLOOD / seconds;
    },
  },

  pipeline: {
    unit: "calls/s",
    round: () =>
      repeat(async (i) => {
        using counter = api.makeCounter(i);
        const answers = await Promise.all(Array.from({ length: 10 }, () => counter.increment(1)));
        check(answers.at(-1), i + 10);
        return 11;
      }),
  },

  json: {
    unit: "MB/s",
    round: () =>
      repeat(async () => {
        const answer = await api.echo(json);
        check(answer.at(-1).name, "item 1999");
        return 0.1;
      }),
  },

  bytes: {
    unit: "MB/s",
    round: () =>
      repeat(async () => {
        const answer = await api.echo(bytes);
        check(answer.length, bytes.length);
        check(answer.at(-1), bytes.at(-1));
        return 1;
      }),
  },

  map: {
    unit: "calls/s",
    round: () =>
      repeat(async () => {
        using list = api.list(100);
        const answers = await list.map((i) => api.square(i));
        check(answers.at(-1), 99 * 99);
        return 101;
      }),
  },

  batch: {
    unit: "calls/s",
    round: () =>
      repeat(async () => {
        using batch = newHttpBatchRpcSession(values.http);
        const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => batch.square(i)));
        check(answers.at(-1), 81);
        return 10;
      }),
  },

  upload: {
    unit: "MB/s",
    async round() {
      const chunk = new Uint8Array(CHUNK).fill(120);
      let left = STREAM / CHUNK;
      const stream = new ReadableStream({
        pull(controller) {
          if (left-- === 0) return controller.close();
          controller.enqueue(chunk);
        },
      });
      const start = performance.now();
      check(await api.sumStream(stream), STREAM);
      return STREAM / 1e6 / ((performance.now() - start) / 1000);
    },
  },

  download: {
    unit: "MB/s",
    async round() {
      const start = performance.now();
      let total = 0;
      for await (const chunk of await api.makeStream(STREAM, CHUNK)) total += chunk.byteLength;
      check(total, STREAM);
      return STREAM / 1e6 / ((performance.now() - start) / 1000);
    },
  },
};

const row = rows[values.row];
if (!row) throw new Error(`no row ${values.row}; there are ${Object.keys(rows).join(", ")}`);
if (values.row !== "batch") {
  socket = new WebSocket(values.ws, { perMessageDeflate: false });
  api = newWebSocketRpcSession(socket);
}
await row.round();
const rates = [];
for (let round = 0; round < Number(values.rounds); round++) rates.push(await row.round());
rates.sort((a, b) => a - b);
const rate = rates[Math.floor(rates.length / 2)];
console.log(JSON.stringify({ row: values.row, rate, unit: row.unit }));
// Nothing is left to be said: a graceful end would only cost the next round time.
process.exit(0);
