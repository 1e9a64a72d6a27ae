// Drives the REST API with npm's `cloudflare`. Standard input: {"peers", "base", "token"}. Standard output: one JSON document.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { readFileSync } from "node:fs";

const { peers, base, token } = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(join(peers, "package.json"));
const module = await import(pathToFileURL(require.resolve("cloudflare")).href);
const Cloudflare = module.Cloudflare ?? module.default?.Cloudflare ?? module.default;
const client = new Cloudflare({ apiToken: token, baseURL: base, maxRetries: 0, timeout: 15000 });
const account_id = "0123456789abcdef0123456789abcdef";
const access = client.zeroTrust.access;
const out = {};

const created = await access.serviceTokens.create({ account_id, name: "sdk-js", duration: "24h" });
out.created = created;
out.rotated = await access.serviceTokens.rotate(created.id, { account_id });
out.refreshed = await access.serviceTokens.refresh(created.id, { account_id });
out.renamed = await access.serviceTokens.update(created.id, { account_id, name: "sdk-js-2", duration: "48h" });
out.got = await access.serviceTokens.get(created.id, { account_id });
out.listed = [];
for await (const one of access.serviceTokens.list({ account_id })) out.listed.push(one.name);
out.disabled = await client.put(`/accounts/${account_id}/access/service_tokens/${created.id}`, { body: { enabled: false } });

const policy = await access.policies.create({ account_id, name: "js policy", decision: "non_identity", include: [{ service_token: { token_id: created.id } }] });
out.policy = policy;
const app = await access.applications.create({ account_id, type: "self_hosted", name: "js app", domain: "js.example.com/admin", session_duration: "6h", policies: [{ id: policy.id, precedence: 1 }] });
out.app = app;
out.appGot = await access.applications.get(app.id, { account_id });
out.appUpdated = await access.applications.update(app.id, { account_id, type: "self_hosted", name: "js app 2", domain: "js.example.com/admin" });
out.own = await access.applications.policies.create(app.id, { account_id, name: "own", decision: "deny", include: [{ everyone: {} }] });
out.apps = [];
for await (const one of access.applications.list({ account_id })) out.apps.push(one.name);
await access.applications.policies.delete(out.own.id, { account_id, app_id: app.id });
await access.applications.revokeTokens(app.id, { account_id });
out.appDeleted = await access.applications.delete(app.id, { account_id });
out.policyUpdated = await access.policies.update(policy.id, { account_id, name: "js policy 2", decision: "non_identity", include: [{ any_valid_service_token: {} }] });
await access.policies.delete(policy.id, { account_id });

out.keys = await access.keys.get({ account_id });
out.keysRotated = await access.keys.rotate({ account_id });
out.organization = await client.put(`/accounts/${account_id}/access/organizations`, { body: { strict_service_token_auth: true } });
out.deleted = await access.serviceTokens.delete(created.id, { account_id });
try {
  await access.serviceTokens.get(created.id, { account_id });
} catch (error) {
  out.missing = { status: error.status, errors: error.errors };
}
try {
  await new Cloudflare({ apiToken: "wrong", baseURL: base, maxRetries: 0 }).zeroTrust.access.keys.get({ account_id });
} catch (error) {
  out.refused = error.status;
}
console.log(JSON.stringify(out));
