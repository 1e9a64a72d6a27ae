// A question: to a vector, to the passages closest to it, to an answer that the model makes of them.
import { data } from "./events.js";

// Passages that are shown. The model reads the best one only: a small one takes seconds to read a page, and mixes things up.
const PASSAGES = 3;
// The cosine below which a passage is about something else. A model that is given nothing fitting makes something up.
const FITTING = 0.2;
const MOST_TOKENS = 60;

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
  const [{ metadata: best }] = fitting;
  const asked = question.charAt(0).toLowerCase() + question.slice(1);
  const messages = [
    { role: "system", content: "You answer questions about a text." },
    { role: "user", content: `${best.text}\n\nAccording to the text, ${asked}` },
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
      if (tokens === 0) await emit("token", { text: "The model had nothing to say. What it read is below." });
      return { first, tokens };
    },
    ({ first, tokens }) => `${tokens} pieces, the first after ${first} ms`,
  );
}
