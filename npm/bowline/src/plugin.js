/**
 * A plugin for miniflare, by which tools without an option for a connection string reach one: `unsafe.bindings` of a
 * wrangler configuration may name a package that says what a binding is made of.
 *
 * It makes nothing itself. Each binding is handed to the plugin that the same miniflare has for its kind, together with
 * the connection string that wrangler would not take, so that it has the shape that kind has there.
 *
 * miniflare 4 gives an external plugin the bindings that name it; miniflare 5 gives it the whole Worker.
 */
import { createRequire } from "node:module";

import { KINDS, miniflareOptions } from "./bindings.js";

/** The plugin's name: tools show it beside each binding. */
export const NAME = "bowline";
/** Answers for services, which no plugin of their own serves. */
const REMOTE = "bowline:remote";

const require = createRequire(import.meta.url);

/**
 * The miniflare that is asking. A plugin is not told, and a process may have loaded several, each with classes of its own:
 * it is the module that the call came from. To be called before anything is awaited.
 */
function asking() {
	const prepare = Error.prepareStackTrace;
	Error.prepareStackTrace = (_error, sites) => sites.map((site) => site.getFileName());
	const files = /** @type {any} */ (new Error().stack);
	Error.prepareStackTrace = prepare;
	for (const file of files) {
		const exported = file && require.cache[file]?.exports;
		if (exported?.PLUGINS && exported.remoteProxyClientWorker) return exported;
	}
	throw new Error(`${NAME}: this plugin is for miniflare, and was called by ${files.at(-1)}`);
}

/**
 * The bindings that name this plugin: `{ name, options: { url, kind, entry } }`.
 *
 * @param {any} worker
 * @returns {{ name: string, options: { url: string, kind: string, entry: any } }[]}
 */
function own(worker) {
	if (Array.isArray(worker)) return worker;
	return Object.entries(worker?.config?.env ?? {})
		.filter(([, binding]) => binding.type.startsWith("unsafe:") && binding.dev?.plugin?.name === NAME)
		.map(([name, { dev }]) => ({ name, options: dev.options }));
}

/**
 * For each plugin of miniflare that has bindings to make: it, and the options that it makes them from.
 *
 * @param {any} host
 * @param {any} worker
 */
function delegates(host, worker) {
	/** @type {Map<string, { url: string, bindings: any[] }>} */
	const byPlugin = new Map();
	for (const { name, options } of own(worker)) {
		const kind = KINDS.find(({ key }) => key === options.kind);
		if (!kind) throw new Error(`${NAME}: binding ${name} is of the kind ${options.kind}, which is not known here`);
		const group = byPlugin.get(kind.plugin) ?? { url: options.url, bindings: [] };
		group.bindings.push({ kind, name, entry: options.entry });
		byPlugin.set(kind.plugin, group);
	}
	return [...byPlugin].map(([key, { url, bindings }]) => {
		const plugin = key === "core" ? services(host) : host.PLUGINS[key];
		if (!plugin) throw new Error(`${NAME}: this tool's miniflare has no ${key} (binding ${bindings[0].name})`);
		return { plugin, options: options(host, worker, miniflareOptions(bindings, new URL(url))) };
	});
}

/**
 * What a plugin of miniflare takes: the options themselves, or since miniflare 5 a Worker that has them.
 *
 * @param {any} host
 * @param {any} worker
 * @param {Record<string, any>} options
 */
function options(host, worker, options) {
	if (Array.isArray(worker)) return options;
	const { workers } = host.convertV4MiniflareOptions({ modules: true, script: "", ...options });
	const [{ config, dev }] = workers;
	return {
		...worker,
		config: { ...worker.config, env: config.env },
		dev: { ...worker.dev, remoteProxyConnectionString: dev.remoteProxyConnectionString },
	};
}

/** miniflare makes services together with the Worker itself; so they are made here. */
function services(/** @type {any} */ host) {
	const names = (/** @type {any} */ options) => Object.keys(options.serviceBindings ?? options.config.env);
	const url = (/** @type {any} */ options, /** @type {string} */ name) =>
		options.serviceBindings?.[name].remoteProxyConnectionString ?? options.dev.remoteProxyConnectionString;
	return {
		getBindings: (/** @type {any} */ options) =>
			names(options).map((name) => ({ name, service: { name: REMOTE, props: host.buildRemoteProxyProps(url(options, name), name) } })),
		getNodeBindings: (/** @type {any} */ options) =>
			Object.fromEntries(names(options).map((name) => [name, new host.ProxyNodeBinding()])),
		getServices: () => [{ name: REMOTE, worker: host.remoteProxyClientWorker() }],
	};
}

const plugin = {
	bindingTypeDescription: "binding through Bowline",

	async getBindings(/** @type {any} */ worker, /** @type {any[]} */ ...more) {
		const host = asking();
		const made = delegates(host, worker).map(({ plugin, options }) => plugin.getBindings(options, ...more));
		return (await Promise.all(made)).flatMap((bindings) => bindings ?? []);
	},

	async getNodeBindings(/** @type {any} */ worker, /** @type {any[]} */ ...more) {
		const host = asking();
		const made = delegates(host, worker).map(({ plugin, options }) => plugin.getNodeBindings(options, ...more));
		return Object.assign({}, ...(await Promise.all(made)));
	},

	async getServices(/** @type {any} */ given) {
		const host = asking();
		const all = { services: /** @type {any[]} */ ([]), extensions: /** @type {any[]} */ ([]) };
		for (const { plugin, options } of delegates(host, given.options)) {
			const made = await plugin.getServices({ sharedOptions: {}, ...given, options });
			if (Array.isArray(made)) all.services.push(...made);
			else if (made) {
				all.services.push(...made.services);
				all.extensions.push(...made.extensions);
			}
		}
		return all;
	},

	/** Of plugins that would give none for the Workers as they are: an extension must not be there twice. */
	async getExtensions({ options: workers }) {
		const host = asking();
		const made = [];
		for (const worker of workers) {
			for (const { plugin, options } of delegates(host, worker)) {
				if (!plugin.getExtensions) continue;
				if ((await plugin.getExtensions({ options: workers })).length > 0) continue;
				made.push(...(await plugin.getExtensions({ options: [options] })));
			}
		}
		return made;
	},
};

export const plugins = { [NAME]: plugin };
