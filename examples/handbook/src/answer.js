// A question: to a vector, to the passages closest to it, to an answer that the model makes of them.
import { data } from "./events.js";

// A small model does better with little to read.
const PASSAGES = 3;
// The cosine below which a passage is about something else. A model that is given nothing fitting makes something up.
const FITTING = 0.2;
const MOST_TOKENS = 120;

const SYSTEM =
  "You answer questions about a harbour. Use only the notes. Answer in one short sentence. " +
  "If the notes do not answer the question, say: The handbook does not say.";

export async function answer(env, question, { call, emit }) {
  const { data: vectors } = await call(
    "AI",
    `run("${env.EMBEDDINGS}", the question)`,
    () => env.AI.run(env.EMBEDDINGS, { text: [question] }),
    (result) => `1 vector of ${result.shape[1]} numbers`,
  );
  const { matches } = await call(
    "VEC",
    `query(vector, { topK: ${PASSAGES} })`,
    () => env.VEC.query(vectors[0], { topK: PASSAGES, returnMetadata: "all" }),
    (result) => result.matches.map(({ score, metadata }) => `${metadata.document} ${score.toFixed(2)}`).join(", ") || "no match",
  );
  const fitting = matches.filter(({ score }) => score >= FITTING);
  await emit("sources", fitting.map(({ score, metadata }) => ({ score, ...metadata })));
  if (fitting.length === 0) {
    await emit("token", { text: "The handbook does not say." });
    return;
  }
  const notes = fitting.map(({ metadata }) => `${metadata.title}: ${metadata.text}`).join("\n\n");
  const messages = [
    { role: "system", content: SYSTEM },
    { role: "user", content: `Notes:\n${notes}\n\nQuestion: ${question}` },
  ];
  await call(
    "AI",
    `run("${env.CHAT}", { stream: true })`,
    async () => {
      const started = Date.now();
      const stream = await env.AI.run(env.CHAT, { messages, stream: true, max_tokens: MOST_TOKENS, temperature: 0 });
      let [first, tokens] = [0, 0];
      for await (const { response } of data(stream)) {
        if (!response) continue;
        first ||= Date.now() - started;
        tokens += 1;
        await emit("token", { text: response });
      }
      return { first, tokens };
    },
    ({ first, tokens }) => `${tokens} pieces, the first after ${first} ms`,
  );
}
