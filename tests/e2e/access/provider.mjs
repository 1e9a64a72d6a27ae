// An OpenID Connect provider: npm's `oidc-provider`, with the login pages it brings for development.
// `node provider.mjs FILE`, a file with {"peers", "client_id", "client_secret"?, "method"?}. Standard output: one line
// {"ready": true, "url"}. The first request is the test's and has the client's redirect URI as its body: client and provider
// need each other's URL.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const setup = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(join(setup.peers, "package.json"));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${server.address().port}` }));
const redirectUri = await new Promise((resolve) =>
  server.once("request", async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    resolve(body);
    // Answered once the provider is there.
    setImmediate(() => response.end());
  }),
);
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: setup.client_id,
      redirect_uris: [redirectUri],
      ...(setup.client_secret
        ? { client_secret: setup.client_secret, token_endpoint_auth_method: setup.method }
        : { token_endpoint_auth_method: "none" }),
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  pkce: { required: () => true },
  // The login is the person's address; what the provider knows of it depends on its name.
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      ...(id.startsWith("nobody") ? {} : { email: id, email_verified: !id.startsWith("unverified") }),
    }),
  }),
  cookies: { keys: ["a key of this test"] },
  features: { devInteractions: { enabled: true } },
});
server.on("request", provider.callback());
