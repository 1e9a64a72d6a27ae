// A handbook that answers questions. Its documents are made Markdown and vectors by Workers AI, found by Vectorize, listed in
// D1; a model answers from what was found, word by word. None of that needs to be on the machine the Worker runs on.
import { answer } from "./answer.js";
import { OWN, addDocument, listDocuments, processed, removeDocument } from "./documents.js";
import { events } from "./events.js";
import page from "./page.html";

const LARGEST = 1 << 20;
const LONGEST_QUESTION = 500;
// Names are shown, stored and sent along; a path or a control character is none.
const NAME = /^[^/\\\p{Cc}]{1,100}$/u;

// A request that cannot be served as it is: 400, where everything else that fails is the line's or the far end's.
class BadRequest extends Error {}

async function question(request) {
  const { question } = await request.json().catch(() => ({}));
  if (typeof question !== "string" || !question.trim() || question.length > LONGEST_QUESTION) {
    throw new BadRequest(`a question has 1 to ${LONGEST_QUESTION} characters`);
  }
  return question.trim();
}

async function upload(request, name) {
  const declared = Number(request.headers.get("Content-Length") ?? 0);
  const content = declared > LARGEST ? undefined : await request.arrayBuffer();
  if (content === undefined || content.byteLength > LARGEST) throw new BadRequest("a document has at most 1 MB");
  const type = request.headers.get("Content-Type")?.split(";")[0];
  return { name, type: type || "text/plain", content };
}

async function state(env) {
  const documents = await listDocuments(env);
  const models = await env.AI.models();
  return { documents, models: models.map(({ name, description }) => ({ name, description })) };
}

async function route(request, env, context) {
  const url = new URL(request.url);
  const named = /^\/documents\/([^/]+)$/.exec(url.pathname);
  if (named) {
    const name = decodeURIComponent(named[1]);
    if (!NAME.test(name)) throw new BadRequest("a document's name has 1 to 100 characters and no slash");
    if (request.method === "PUT") {
      const document = await upload(request, name);
      return events(context, async (tell) => processed(env, await addDocument(env, document, tell), tell));
    }
    if (request.method === "DELETE") return events(context, (tell) => removeDocument(env, name, tell));
  }
  switch (`${request.method} ${url.pathname}`) {
    case "GET /":
      return new Response(page, { headers: { "Content-Type": "text/html; charset=utf-8" } });
    case "GET /documents":
      return Response.json(await state(env));
    case "POST /documents":
      return events(context, async (tell) => {
        let last;
        for (const document of OWN) last = await addDocument(env, document, tell);
        await processed(env, last, tell);
      });
    case "POST /ask": {
      const asked = await question(request);
      return events(context, (tell) => answer(env, asked, tell));
    }
    default:
      return Response.json({ error: "there is nothing here" }, { status: 404 });
  }
}

export default {
  async fetch(request, env, context) {
    try {
      return await route(request, env, context);
    } catch (error) {
      const bad = error instanceof BadRequest || error instanceof URIError;
      return Response.json({ error: error.message }, { status: bad ? 400 : 502 });
    }
  },
};
