// wrangler's connector, alone in a process, announced as `bowline connect --json` announces itself.
import { startRemoteProxySession } from "wrangler";

const bindings = {
	DB: { type: "d1", database_id: "main", remote: true },
	ART: { type: "artifacts", namespace: "team", remote: true },
};
const apiToken = { apiToken: process.env.CLOUDFLARE_API_TOKEN };
const auth = { accountId: process.env.CLOUDFLARE_ACCOUNT_ID, apiToken };
const session = await startRemoteProxySession(bindings, { workerName: "bench", auth });
console.log(JSON.stringify({ ready: true, url: session.remoteProxyConnectionString }));
process.on("SIGTERM", () => session.dispose().then(() => process.exit(0)));
