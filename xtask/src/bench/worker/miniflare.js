// Runs worker.js under an unmodified miniflare with its own D1, and the callee in the same process. Says where.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [peers, source, state] = process.argv.slice(2);
const { Miniflare } = createRequire(`${peers}/`)("miniflare-5");
const worker = (name, env) => ({
	config: {
		name,
		compatibilityDate: "2026-07-01",
		manifest: { mainModule: "worker.js", modules: { "worker.js": { type: "esm", contents: readFileSync(source, "utf8") } } },
		env,
	},
});
const runtime = new Miniflare({
	workers: [
		worker("caller", { DB: { type: "d1", id: "bench" }, SVC: { type: "worker", worker: "callee", exportName: "Callee" } }),
		worker("callee", {}),
	],
	resourcePersistencePath: state,
	host: "127.0.0.1",
	port: 0,
});
const url = await runtime.ready;
console.log(JSON.stringify({ ready: true, url: url.href }));
process.stdin.resume();
process.stdin.on("end", async () => {
	await runtime.dispose();
	process.exit(0);
});
