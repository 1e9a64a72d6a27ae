// Verifies an application token with jose and with the Pages plugin, as an origin behind Access would.
// Standard input: {"peers", "team", "aud", "token"}. Standard output: one JSON document.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { readFileSync } from "node:fs";

const { peers, team, aud, token } = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(join(peers, "package.json"));
const { createRemoteJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve("jose")).href);

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    return { error: String(error.code ?? error.message) };
  }
}

const jose = await attempt(async () => {
  const keys = createRemoteJWKSet(new URL("/cdn-cgi/access/certs", team));
  const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer: team, audience: aud, algorithms: ["RS256"] });
  return { payload, header: protectedHeader };
});

const plugin = await attempt(async () => {
  const path = join(peers, "node_modules/@cloudflare/pages-plugin-cloudflare-access/dist/functions/index.js");
  const { onRequest } = await import(pathToFileURL(path).href);
  const data = {};
  const request = new Request(`${team}/`, { headers: { "Cf-Access-Jwt-Assertion": token } });
  const handle = Array.isArray(onRequest) ? onRequest[0] : onRequest;
  const response = await handle({ request, pluginArgs: { domain: team, aud }, data, next: () => new Response("passed") });
  return { status: response.status, payload: data.cloudflareAccess?.JWT.payload };
});

console.log(JSON.stringify({ jose, plugin }));
