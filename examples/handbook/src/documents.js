// The documents: made Markdown, cut into passages, and each passage kept in Vectorize under its meaning.
import arrival from "./documents/arrival.html";
import services from "./documents/services.html";
import weather from "./documents/weather.txt";
// Only `.txt`, `.html` and `.sql` are imported as text without a rule.
import fees from "./documents/fees.csv.txt";
import rules from "./documents/rules.md.txt";

// What the handbook comes with.
export const OWN = [
  { name: "arrival.html", type: "text/html", content: arrival },
  { name: "fees.csv", type: "text/csv", content: fees },
  { name: "rules.md", type: "text/markdown", content: rules },
  { name: "services.html", type: "text/html", content: services },
  { name: "weather.txt", type: "text/plain", content: weather },
];

const SCHEMA =
  "CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, type TEXT NOT NULL, bytes INTEGER NOT NULL, " +
  "passages INTEGER NOT NULL, indexed_at TEXT NOT NULL)";

// Characters of a passage, roughly: about one thing, so that a question finds it, and soon read.
const PASSAGE = 260;
// Passages of one document: what Vectorize takes in one call leaves room, and a model's embeddings too.
const MOST_PASSAGES = 100;

const plural = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

export async function listDocuments(env) {
  await env.DB.exec(SCHEMA);
  const { results } = await env.DB.prepare("SELECT * FROM documents ORDER BY name").all();
  return results;
}

// Markdown in passages that make sense alone: a paragraph or table under its headings, long ones cut between lines.
export function passages(markdown) {
  const found = [];
  let headings = [];
  let lines = [];
  const finish = () => {
    const text = lines.join("\n").trim();
    if (text !== "") found.push({ title: headings.filter(Boolean).join(" › "), text });
    lines = [];
  };
  for (const line of markdown.split("\n")) {
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (heading) {
      finish();
      headings = [...headings.slice(0, heading[1].length - 1), heading[2]];
    } else if (lines.length > 0 && lines.join("\n").length + line.length > PASSAGE && !line.startsWith("|")) {
      finish();
      lines = [line];
    } else {
      lines.push(line);
    }
  }
  finish();
  return found;
}

// Ids of at most 64 bytes, whatever a document is called.
async function idsOf(name, count) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name)));
  const prefix = [...digest.slice(0, 12)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return Array.from({ length: count }, (_, at) => `${prefix}-${at}`);
}

// Reads one document: to Markdown, to passages, to vectors, into the index.
export async function addDocument(env, { name, type, content }, { call, emit }) {
  const blob = new Blob([content], { type });
  const markdown = await call(
    "AI",
    `toMarkdown("${name}")`,
    () => env.AI.toMarkdown({ name, blob }),
    (result) => (result.format === "error" ? result.error : `${plural(result.data.length, "character")} of Markdown`),
  );
  if (markdown.format === "error") throw new Error(`${name}: ${markdown.error}`);
  const parts = passages(markdown.data);
  if (parts.length === 0) throw new Error(`${name} has no text`);
  if (parts.length > MOST_PASSAGES) throw new Error(`${name} is too long: ${parts.length} passages, at most ${MOST_PASSAGES}`);

  const title = (part) => part.title || name;
  const { data: vectors } = await call(
    "AI",
    `run("${env.EMBEDDINGS}", ${plural(parts.length, "text")})`,
    () => env.AI.run(env.EMBEDDINGS, { text: parts.map((part) => `${title(part)}\n${part.text}`) }),
    (result) => `${plural(result.shape[0], "vector")} of ${result.shape[1]} numbers`,
  );
  await removePassages(env, name, call);
  const ids = await idsOf(name, parts.length);
  const rows = parts.map((part, at) => ({
    id: ids[at],
    values: vectors[at],
    metadata: { document: name, title: title(part), text: part.text },
  }));
  const { mutationId } = await call(
    "VEC",
    `upsert(${plural(rows.length, "vector")})`,
    () => env.VEC.upsert(rows),
    (result) => `mutation ${result.mutationId.slice(0, 8)}…`,
  );
  await call(
    "DB",
    "INSERT INTO documents",
    () =>
      env.DB.prepare("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)")
        .bind(name, type, blob.size, parts.length, new Date().toISOString())
        .run(),
    () => name,
  );
  await emit("document", { name, passages: parts.length });
  return mutationId;
}

export async function removeDocument(env, name, { call }) {
  await removePassages(env, name, call);
  await call("DB", "DELETE FROM documents", () => env.DB.prepare("DELETE FROM documents WHERE name = ?").bind(name).run());
}

// A document that is read again may have fewer passages than before.
async function removePassages(env, name, call) {
  await env.DB.exec(SCHEMA);
  const before = await env.DB.prepare("SELECT passages FROM documents WHERE name = ?").bind(name).first("passages");
  if (!before) return;
  const ids = await idsOf(name, before);
  await call("VEC", `deleteByIds(${plural(ids.length, "id")})`, () => env.VEC.deleteByIds(ids));
}

// Vectorize accepts a change first and shows it to queries later; changes are shown in the order they were accepted.
export async function processed(env, mutationId, { call }) {
  await call("VEC", "describe() until the change is seen", async () => {
    for (let tries = 0; tries < 250; tries++) {
      const info = await env.VEC.describe();
      if (info.processedUpToMutation === mutationId) return info;
      await scheduler.wait(20);
    }
    throw new Error("the index is slow to take changes in; ask again in a moment");
  }, (info) => `${plural(info.vectorCount, "vector")} in the index`);
}
