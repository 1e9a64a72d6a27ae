// Runs the test Worker under an unmodified miniflare and takes calls from standard input.
//
// One JSON document per line each way. The first line in is the setup:
//   {"miniflare":4|5, "peers":FOLDER, "connection":URL | "d1":FOLDER | "artifacts":FOLDER, "deadline_ms":N}
// (without a connection the Worker has miniflare's own D1 or Artifacts and nothing else),
// which is answered by {"ready":true} or {"ready":false,"error":{…}}. Every further line is a call
//   {"call":NAME, "args":{…}, "deadline_ms"?:N}
// answered, in order, by {"call","ok","result"|"error"}. The end of standard input ends the program.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("./worker.mjs", import.meta.url));
const compatibilityDate = "2026-07-01";

const options = {
	4: (connection) => {
		const remoteProxyConnectionString = new URL(connection);
		return {
			modules: [{ type: "ESModule", path: source, contents: readFileSync(source, "utf8") }],
			modulesRoot: fileURLToPath(new URL(".", import.meta.url)),
			compatibilityDate,
			d1Databases: { DB: { id: "main", remoteProxyConnectionString } },
			vectorize: { VEC: { index_name: "main", remoteProxyConnectionString } },
			email: { send_email: [{ name: "MAIL", remoteProxyConnectionString }] },
			ai: { binding: "AI", remoteProxyConnectionString },
			images: { binding: "IMAGES", remoteProxyConnectionString },
			serviceBindings: { SVC: { name: "callee", remoteProxyConnectionString }, PLAIN: { name: "plain", remoteProxyConnectionString } },
			dispatchNamespaces: { CUSTOMERS: { namespace: "customers", remoteProxyConnectionString } },
			vpcNetworks: { VPC: { network_id: "main", remoteProxyConnectionString } },
			artifacts: { ART: { namespace: "team", remoteProxyConnectionString } },
		};
	},
	5: (connection) => {
		const dev = { remote: true };
		return {
			workers: [
				{
					config: {
						name: "e2e",
						compatibilityDate,
						manifest: {
							mainModule: "worker.mjs",
							modulesRoot: fileURLToPath(new URL(".", import.meta.url)),
							modules: { "worker.mjs": { type: "esm", contents: readFileSync(source, "utf8") } },
						},
						env: {
							DB: { type: "d1", id: "main", dev },
							VEC: { type: "vectorize", name: "main", dev },
							MAIL: { type: "send-email", dev },
							SVC: { type: "worker", worker: "callee", dev },
							PLAIN: { type: "worker", worker: "plain", dev },
							CUSTOMERS: { type: "dispatch-namespace", namespace: "customers", dev },
							VPC: { type: "vpc-network", networkId: "main", dev },
							AI: { type: "ai", dev },
							ART: { type: "artifacts", namespace: "team", dev },
							IMAGES: { type: "images", dev },
						},
					},
					dev: { remoteProxyConnectionString: new URL(connection) },
				},
			],
		};
	},
};

/** miniflare's own D1 or Artifacts, kept in a folder. */
const local = {
	4: ({ d1 }) => ({
		modules: [{ type: "ESModule", path: source, contents: readFileSync(source, "utf8") }],
		modulesRoot: fileURLToPath(new URL(".", import.meta.url)),
		compatibilityDate,
		d1Databases: { DB: "main" },
		d1Persist: d1,
	}),
	5: ({ d1, artifacts }) => {
		const remote = options[5]("http://127.0.0.1/");
		remote.workers[0].config.env = d1 ? { DB: { type: "d1", id: "main" } } : { ART: { type: "artifacts", namespace: "team" } };
		delete remote.workers[0].dev;
		return { ...remote, resourcePersistencePath: d1 ?? artifacts };
	},
};

const say = (document) => process.stdout.write(`${JSON.stringify(document)}\n`);
const explain = (error) => ({ name: error?.name ?? typeof error, message: error?.message ?? String(error), code: error?.code });

/** Settles with the promise, or fails once the time is over. */
async function within(promise, milliseconds, what) {
	let timer;
	const late = new Promise((_, reject) => {
		const error = new Error(`${what}: nothing within ${milliseconds} ms`);
		error.name = "DeadlineError";
		timer = setTimeout(() => reject(error), milliseconds);
	});
	try {
		return await Promise.race([promise, late]);
	} finally {
		clearTimeout(timer);
	}
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const setup = JSON.parse((await lines.next()).value);
let runtime;
try {
	const { Miniflare } = createRequire(`${setup.peers}/`)(`miniflare-${setup.miniflare}`);
	const chosen = setup.connection ? options[setup.miniflare](setup.connection) : local[setup.miniflare](setup);
	runtime = new Miniflare({ ...chosen, host: "127.0.0.1", port: 0 });
	await within(runtime.ready, setup.deadline_ms, "starting miniflare");
	say({ ready: true });
} catch (error) {
	say({ ready: false, error: explain(error) });
	process.exit(1);
}

for await (const line of lines) {
	const { call, args, deadline_ms = setup.deadline_ms } = JSON.parse(line);
	try {
		const answer = runtime
			.dispatchFetch("http://worker.test/", { method: "POST", body: JSON.stringify({ call, args }) })
			.then((response) => response.text());
		const text = await within(answer, deadline_ms, call);
		let document;
		try {
			document = JSON.parse(text);
		} catch {
			throw new Error(`the Worker answered no JSON: ${text.slice(0, 500)}`);
		}
		say(document);
	} catch (error) {
		say({ call, ok: false, error: explain(error) });
	}
}
// miniflare may wait for a runtime that is gone; the parent waits for this process.
await within(runtime.dispose(), 5000, "stopping miniflare").catch(() => {});
process.exit(0);
