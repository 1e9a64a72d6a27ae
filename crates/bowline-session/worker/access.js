// Who may use a deployed proxy Worker: only what came through Access. The edge in front has judged the request; this makes
// sure that there was one, for a route without Access in front of it would hand the bindings to everybody.

// How long keys are kept, and how soon an unknown key id may have them fetched again. Access keeps an old key valid for a week
// after it has made a new one.
const KEPT = 3_600_000;
const PAUSE = 10_000;
// Between the clocks of Access and of this machine, in seconds.
const SKEW = 30;
const ALGORITHM = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

let kept = { keys: new Map(), at: -Infinity };

function refuse(status, text) {
  return new Response(`bowline: ${text}\n`, { status, headers: { "content-type": "text/plain; charset=utf-8" } });
}

function bytes(text) {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(binary, (unit) => unit.charCodeAt(0));
}

const json = (text) => JSON.parse(new TextDecoder().decode(bytes(text)));

async function fetchKeys(url) {
  const response = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const keys = new Map();
  for (const jwk of (await response.json()).keys) {
    if (jwk.kty !== "RSA" || typeof jwk.kid !== "string") continue;
    keys.set(jwk.kid, await crypto.subtle.importKey("jwk", { ...jwk, use: undefined }, ALGORITHM, false, ["verify"]));
  }
  return keys;
}

// Results are shared by requests and never promises: one request must not wait for another's.
async function findKey(kid, url) {
  const age = Date.now() - kept.at;
  const found = kept.keys.get(kid);
  if (found && age < KEPT) return found;
  if (!found && age < PAUSE) return undefined;
  try {
    kept = { keys: await fetchKeys(url), at: Date.now() };
  } catch (error) {
    // Keys that were good an hour ago are better than none while the team domain cannot be reached.
    if (found) return found;
    throw error;
  }
  return kept.keys.get(kid);
}

// The answer for a request that may not pass, or undefined.
export async function admit(request, { issuer, certificates, audiences }) {
  const cookie = /(?:^|;\s*)CF_Authorization=([^;]+)/.exec(request.headers.get("Cookie") ?? "");
  const token = request.headers.get("Cf-Access-Jwt-Assertion") ?? cookie?.[1];
  if (!token) return refuse(403, "this Worker answers only what came through Access, and this request has no application token");
  const parts = token.split(".");
  let header, claims, signature;
  try {
    if (parts.length !== 3) throw new Error("three parts");
    [header, claims] = [json(parts[0]), json(parts[1])];
    signature = bytes(parts[2]);
  } catch {
    return refuse(403, "the application token is malformed");
  }
  if (header?.alg !== "RS256" || typeof header.kid !== "string") return refuse(403, "the application token is not signed by Access");
  let key;
  try {
    key = await findKey(header.kid, certificates);
  } catch (error) {
    return refuse(503, `the keys of the team domain could not be fetched: ${error?.message ?? error}`);
  }
  const signed = new TextEncoder().encode(`${parts[0]}.${parts[1]}`);
  if (!key || !(await crypto.subtle.verify(ALGORITHM, key, signature, signed))) {
    return refuse(403, "the application token is not signed by Access");
  }
  const now = Date.now() / 1000;
  const audience = [claims?.aud].flat();
  if (claims?.iss !== issuer) return refuse(403, "the application token is of another team");
  if (!audience.some((one) => audiences.includes(one))) return refuse(403, "the application token is for another application");
  if (!(claims.exp > now - SKEW)) return refuse(403, "the application token has ended");
  if (claims.nbf > now + SKEW) return refuse(403, "the application token is not valid yet");
  return undefined;
}
