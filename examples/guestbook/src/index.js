// A guestbook. Its entries live in D1, their meaning in Vectorize, its versions in Artifacts, its pictures in Images; its owner is told by mail,
// hosts of a private network are reached through VPC, and other Workers print and frame its cards. None of that is on the
// machine the Worker runs on.
import { EmailMessage } from "cloudflare:email";
import { frameCard, printCard } from "./cards.js";
import { embed } from "./embedding.js";
import { keepSeal, sizeSeal } from "./pictures.js";
import { exchangeLine, exchangeMessage, fetchText } from "./private-network.js";
import { openVersions, readVersions } from "./versions.js";
import page from "./page.html";

const SCHEMA =
  "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, author TEXT NOT NULL, message TEXT NOT NULL, " +
  "signed_at TEXT NOT NULL)";

// A request that cannot be served as it is: 400, where everything else that fails is the line's or the far end's.
class BadRequest extends Error {}

async function listEntries(env) {
  await env.DB.exec(SCHEMA);
  const { results } = await env.DB.prepare("SELECT * FROM entries ORDER BY id DESC LIMIT 50").all();
  return { entries: results };
}

async function addEntry(env, request) {
  const { author, message } = await request.json().catch(() => ({}));
  if (typeof author !== "string" || typeof message !== "string" || !author.trim() || !message.trim()) {
    throw new BadRequest("an entry has an `author` and a `message`");
  }
  await env.DB.exec(SCHEMA);
  const insert = "INSERT INTO entries (author, message, signed_at) VALUES (?, ?, ?) RETURNING *";
  const entry = await env.DB.prepare(insert).bind(author, message, new Date().toISOString()).first();
  const { mutationId } = await env.VEC.upsert([
    { id: String(entry.id), values: embed(message), metadata: { author } },
  ]);
  await processed(env, mutationId);
  return { entry, mutationId };
}

// Vectorize accepts a change first and shows it to queries later. Who signs wants to be found at once, so this waits, but
// not for long: the entry is safe either way.
async function processed(env, mutationId) {
  for (let tries = 0; tries < 50; tries++) {
    const { processedUpToMutation } = await env.VEC.describe();
    if (processedUpToMutation === mutationId) return;
    await scheduler.wait(20);
  }
}

async function findSimilar(env, url) {
  const text = url.searchParams.get("text");
  if (!text) throw new BadRequest("say what to look for: /similar?text=…");
  const { matches } = await env.VEC.query(embed(text), { topK: 5, returnMetadata: "all" });
  if (matches.length === 0) return { entries: [] };
  await env.DB.exec(SCHEMA);
  const select = env.DB.prepare("SELECT * FROM entries WHERE id = ?");
  const found = await env.DB.batch(matches.map(({ id }) => select.bind(Number(id))));
  return {
    entries: found.flatMap(({ results }, at) => results.map((entry) => ({ ...entry, score: matches[at].score }))),
  };
}

async function notifyOwner(env) {
  const from = env.SENDER;
  const to = env.OWNER;
  const raw = [
    `From: Guestbook <${from}>`,
    `To: ${to}`,
    "Subject: Somebody signed (raw)",
    `Message-ID: <${crypto.randomUUID()}@example.com>`,
    `Date: ${new Date().toUTCString().replace("GMT", "+0000")}`,
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "",
    "There is a new entry in the guestbook.",
    "",
  ].join("\r\n");
  const sentRaw = await env.MAIL.send(new EmailMessage(from, to, raw));
  const sentBuilt = await env.MAIL.send({
    from: { email: from, name: "Guestbook" },
    to,
    subject: "Somebody signed (builder)",
    text: "There is a new entry in the guestbook.",
  });
  return { raw: sentRaw.messageId, builder: sentBuilt.messageId };
}

async function route(request, env) {
  const url = new URL(request.url);
  const line = url.searchParams.get("line") ?? "hello from the guestbook";
  switch (`${request.method} ${url.pathname}`) {
    case "GET /entries":
      return listEntries(env);
    case "POST /entries":
      return addEntry(env, request);
    case "GET /similar":
      return findSimilar(env, url);
    case "GET /notify":
    case "POST /notify":
      return notifyOwner(env);
    case "GET /tcp":
      return { address: env.ECHO_ADDR, sent: line, received: await exchangeLine(env.VPC, env.ECHO_ADDR, line) };
    case "GET /vpc-http":
      return { url: env.HTTP_URL, ...(await fetchText(env.VPC, env.HTTP_URL)) };
    case "GET /ws":
      return { url: env.WS_URL, sent: line, received: await exchangeMessage(env.VPC, env.WS_URL, line) };
    case "GET /card":
      return printCard(env.PRESS, { author: "Ada", message: line });
    case "GET /framed":
      return frameCard(env.FRAMES, url.searchParams.get("by") ?? "rope", line);
    case "GET /seal":
      return sizeSeal(env.IMAGES, Number(url.searchParams.get("width") ?? 12));
    case "POST /seal":
      return keepSeal(env.IMAGES);
    case "POST /versions":
      return openVersions(env.ART);
    case "GET /versions":
      return readVersions(env.ART);
    default:
      return undefined;
  }
}

export default {
  async fetch(request, env) {
    if (request.method === "GET" && new URL(request.url).pathname === "/") {
      return new Response(page, { headers: { "Content-Type": "text/html; charset=utf-8" } });
    }
    try {
      const answer = await route(request, env);
      return answer === undefined
        ? Response.json({ error: "there is nothing here" }, { status: 404 })
        : Response.json(answer);
    } catch (error) {
      return Response.json({ error: error.message }, { status: error instanceof BadRequest ? 400 : 502 });
    }
  },
};
