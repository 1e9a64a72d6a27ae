/** `bowline connect` as a child process, and its connection string in the form that each tool takes. */
import { resolve } from "node:path";

import { divide, miniflareOptions } from "./bindings.js";
import { find, document, start } from "./program.js";
import { rerouted, write } from "./wrangler.js";

/** How long the program may take to do anything that is waited for. */
const DEADLINE = 10_000;

/**
 * Starts `bowline connect` and waits until it listens.
 *
 * Credentials of Access are looked for by the program: in the environment (`CLOUDFLARE_ACCESS_CLIENT_ID` and
 * `CLOUDFLARE_ACCESS_CLIENT_SECRET`), in `.env` and `.dev.vars`, or in `bowline.jsonc`; nothing here reads them.
 *
 * @param {import("./index.js").ConnectOptions} options
 * @returns {Promise<import("./index.js").Remote>}
 */
export async function connect({ remote, project, bin, env = process.env, timeoutMs = DEADLINE, log = console.error }) {
	const program = find(bin, env);
	const folder = resolve(project ?? ".");
	const args = ["connect", "--json", "--until-stdin-ends", "--remote", String(remote), "--project", folder];
	const { ready, child, ended } = await start(program, args, { env, timeoutMs, log });
	const url = new URL(ready.url);
	/** @type {(() => void)[]} */
	const undo = [];
	let closing = false;
	ended.then(() => closing || log(`bowline: ${program} has ended; bindings at ${remote} cannot be reached any more`));

	const read = (/** @type {string} */ path) =>
		document(program, ["config", resolve(folder, path)], { env, timeoutMs });

	return {
		url,
		async bindings(path = ".", environment) {
			const { config } = await read(path);
			const section = environment === undefined ? config : config.env?.[environment];
			if (!section) throw new RangeError(`${resolve(folder, path)} has no environment ${environment}`);
			return miniflareOptions(divide(section).remote, url);
		},
		config(config) {
			Object.assign(config, rerouted(config, url));
		},
		async wranglerConfig(path = ".") {
			const { file, remove } = await write(await read(path), url);
			undo.push(remove);
			return file;
		},
		async close() {
			closing = true;
			for (const each of undo) each();
			child.ref();
			child.stdin?.end();
			const late = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
			await ended;
			clearTimeout(late);
		},
	};
}
