// wrangler's own connector of remote bindings, step by step. Steps come as JSON in the first argument; each prints one line
// `step {…}` with what came of it and what the stand-in heard meanwhile.
import { spawnSync } from "node:child_process";

import { startRemoteProxySession } from "wrangler";

// A process that does not trust the edge is one that was started without its authority.
if (process.env.E2E_UNTRUSTING && process.env.NODE_EXTRA_CA_CERTS) {
	delete process.env.NODE_EXTRA_CA_CERTS;
	process.exit(spawnSync(process.execPath, process.argv.slice(1), { stdio: "inherit" }).status);
}

// The connector refreshes after 50 minutes and tries again after one. Nobody waits that long here.
const { setTimeout: patience } = globalThis;
globalThis.setTimeout = Object.assign((then, wait, ...rest) => {
	const long = process.env.E2E_HASTE && wait >= 40 * 60_000 ? 1500 : wait;
	return patience(then, process.env.E2E_HASTE && wait === 60_000 ? 1500 : long, ...rest);
}, patience);

const control = process.env.BOWLINE_EDGE_CONTROL;
const headers = { authorization: `Bearer ${process.env.CLOUDFLARE_API_TOKEN}` };

async function ask(method, path, body) {
	const answer = await fetch(`${control}${path}`, { method, headers, body });
	if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
	return answer.json();
}

async function heard() {
	const log = await ask("DELETE", "/log");
	return log.map(({ at, call, binding, upgrade, status }) =>
		at === "api" ? `${call} ${status}` : [at, upgrade && "upgrade", binding, status].filter(Boolean).join(" "),
	);
}

/** What is shown to the API: the environment's, another token, or what wrangler finds out itself. */
function auth({ token, discover }) {
	if (discover) {
		delete process.env.CLOUDFLARE_ACCOUNT_ID;
		return undefined;
	}
	const apiToken = token ?? process.env.CLOUDFLARE_API_TOKEN;
	return { accountId: process.env.CLOUDFLARE_ACCOUNT_ID, apiToken: { apiToken } };
}
const bindings = (names) =>
	Object.fromEntries(names.map((name) => [name, { type: "service", service: name.toLowerCase(), remote: true }]));

/** One plain request to a binding, as a client in workerd sends it. */
async function request(session, { binding = "PLAIN", method = "GET", within = 20_000 } = {}) {
	const answer = await fetch(session.remoteProxyConnectionString, {
		method,
		headers: { "MF-Binding": binding, "MF-URL": "http://plain.example/a" },
		body: method === "POST" ? "body" : undefined,
		signal: AbortSignal.timeout(within),
	});
	const body = await answer.text();
	return { status: answer.status, marked: answer.headers.get("MF-Forwarded-Response"), body: body.slice(0, 200) };
}

/** An RPC session: how the upgrade went. */
function upgrade(session, { binding = "PLAIN", within = 20_000 } = {}) {
	const url = new URL(session.remoteProxyConnectionString);
	url.protocol = "ws:";
	url.searchParams.set("MF-Binding", binding);
	return new Promise((resolve) => {
		const socket = new WebSocket(url);
		const timer = setTimeout(() => resolve({ hung: true }), within);
		const done = (result) => {
			clearTimeout(timer);
			socket.close();
			resolve(result);
		};
		socket.addEventListener("open", () => done({ open: true }));
		socket.addEventListener("error", () => done({ open: false }));
	});
}

/** Asks until the answer has this status: a refresh goes on beside the requests. */
async function until(session, { status = 418, within = 30_000 }) {
	const end = Date.now() + within;
	for (;;) {
		const answer = await request(session).catch((error) => ({ status: 0, body: String(error) }));
		if (answer.status === status || Date.now() > end) return answer;
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
}

/** Waits until the API has answered `what`, while requests go on: every answer of the API, and the statuses of the requests. */
async function hear(session, { what, within = 30_000 }) {
	const end = Date.now() + within;
	const [api, statuses] = [[], new Set()];
	while (!api.includes(what) && Date.now() < end) {
		statuses.add((await request(session)).status);
		api.push(...(await heard()).filter((line) => !line.startsWith("edge")));
		await new Promise((resolve) => patience(resolve, 20));
	}
	return { api, statuses: [...statuses] };
}

/** An error with its causes, and the notes in which wrangler puts the API's own words. */
function told(error) {
	const words = [];
	for (let at = error; at; at = at.cause) words.push(at.message, ...(at.notes ?? []).map(({ text }) => text));
	return words.filter(Boolean).join(": ");
}

let session;
const steps = {
	start: async (step) => {
		await session?.dispose();
		session = undefined;
		session = await startRemoteProxySession(bindings(step.bindings ?? ["PLAIN"]), { workerName: "e2e", auth: auth(step) });
		return { url: String(session.remoteProxyConnectionString) };
	},
	update: (step) => session.updateBindings(bindings(step.bindings)),
	request: (step) => request(session, step),
	together: (step) => Promise.all(Array.from({ length: step.count }, () => request(session, step))),
	upgrade: (step) => upgrade(session, step),
	until: (step) => until(session, step),
	hear: (step) => hear(session, step),
	faults: (step) => ask("PUT", "/faults", step.faults.join("\n")),
	access: (step) => ask("PUT", "/access", step.mode),
	expire: (step) => ask("POST", `/expire/${step.what}`),
	tail: (step) => ask("POST", "/tail", JSON.stringify(step.event)),
	dispose: () => session.dispose(),
};

for (const step of JSON.parse(process.argv[2])) {
	const began = Date.now();
	let result;
	try {
		result = { ok: true, result: await steps[step.do](step) };
	} catch (error) {
		result = { ok: false, error: told(error) };
	}
	console.log(`step ${JSON.stringify({ do: step.do, ...result, ms: Date.now() - began, heard: await heard() })}`);
}
await session?.dispose();
console.log("steps done");
process.exit(0);
