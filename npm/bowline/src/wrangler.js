/** Configurations for tools of wrangler's family: the bindings that are remote are made by the plugin beside this file. */
import { rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { divide } from "./bindings.js";
import { NAME } from "./plugin.js";

/** wrangler asks for a package, and takes a path as well: a project need not be able to resolve this package by name. */
const PLUGIN = { package: fileURLToPath(new URL("./plugin.js", import.meta.url)), name: NAME };

/**
 * The same configuration, or environment of one, with its remote bindings as unsafe bindings of the plugin.
 *
 * @param {Record<string, any>} config
 * @param {URL} url
 * @returns {Record<string, any>}
 */
export function rerouted(config, url) {
	const { remote, rest } = divide(config);
	if (remote.length > 0) {
		const made = remote.map(({ kind, name, entry }) => ({
			name,
			type: `remote-${kind.plugin}`,
			dev: { plugin: PLUGIN, options: { url: url.href, kind: kind.key, entry } },
		}));
		rest.unsafe = { ...rest.unsafe, bindings: [...(rest.unsafe?.bindings ?? []), ...made] };
	}
	if (rest.env) {
		rest.env = Object.fromEntries(Object.entries(rest.env).map(([name, env]) => [name, rerouted(env, url)]));
	}
	return rest;
}

/**
 * Writes the rerouted configuration beside the one it is made from, so that the paths in it mean the same. Only this user
 * can read it; with the end of the endpoint it leads nowhere, and with the end of this process it is removed.
 *
 * @param {{ file: string, config: Record<string, any> }} read
 * @param {URL} url
 * @returns {Promise<{ file: string, remove: () => void }>}
 */
export async function write({ file, config }, url) {
	const beside = file.replace(/\.[^.\\/]*$/, "") + `.bowline-${process.pid}.json`;
	await writeFile(beside, JSON.stringify(rerouted(config, url), undefined, "\t"), { mode: 0o600 });
	const remove = () => rmSync(beside, { force: true });
	process.once("exit", remove);
	return { file: beside, remove };
}
