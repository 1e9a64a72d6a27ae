/**
 * The bindings of a wrangler configuration that are remote, and what miniflare calls them.
 *
 * Which bindings are remote, and the options of each, are those of wrangler 4.164 (`unstable_getMiniflareWorkerOptions`).
 */

/**
 * @typedef {object} Kind
 * @property {string} key the member of a wrangler configuration that lists this kind
 * @property {string} plugin the name of miniflare's plugin for it
 * @property {boolean} [always] remote whatever its entry says: these have no local form
 * @property {(name: string, entry: any, remote: object) => object} options miniflare's options for one of them
 */

/** Options that hold an object of bindings by name. */
const record = (/** @type {string} */ option, /** @type {(entry: any) => object} */ take) =>
	/** @type {Kind["options"]} */ ((name, entry, remote) => ({ [option]: { [name]: { ...take(entry), ...remote } } }));

/** Options for the kinds of which a Worker has one. */
const single = (/** @type {string} */ option) =>
	/** @type {Kind["options"]} */ ((name, _entry, remote) => ({ [option]: { binding: name, ...remote } }));

/** @type {Kind[]} */
export const KINDS = [
	{ key: "ai", plugin: "ai", always: true, options: single("ai") },
	{ key: "browser", plugin: "browser-rendering", options: single("browserRendering") },
	{ key: "images", plugin: "images", options: single("images") },
	{ key: "media", plugin: "media", always: true, options: single("media") },
	{ key: "stream", plugin: "stream", options: single("stream") },
	{ key: "analytics", plugin: "analytics-sql", always: true, options: single("analyticsSql") },
	{ key: "kv_namespaces", plugin: "kv", options: record("kvNamespaces", ({ binding, id = binding }) => ({ id })) },
	{ key: "r2_buckets", plugin: "r2", options: record("r2Buckets", ({ binding, bucket_name = binding }) => ({ id: bucket_name })) },
	{ key: "d1_databases", plugin: "d1", options: record("d1Databases", ({ binding, database_id = binding, preview_database_id = database_id }) => ({ id: preview_database_id })) },
	{ key: "vectorize", plugin: "vectorize", options: record("vectorize", ({ index_name }) => ({ index_name })) },
	{ key: "services", plugin: "core", options: record("serviceBindings", ({ service, entrypoint, props }) => ({ name: service, entrypoint, props })) },
	{ key: "dispatch_namespaces", plugin: "dispatch-namespace", options: record("dispatchNamespaces", ({ binding, namespace = binding }) => ({ namespace })) },
	{ key: "vpc_services", plugin: "vpc-services", always: true, options: record("vpcServices", ({ service_id }) => ({ service_id })) },
	{
		key: "vpc_networks",
		plugin: "vpc-networks",
		always: true,
		options: record("vpcNetworks", ({ tunnel_id, network_id }) => (tunnel_id === undefined ? { network_id } : { tunnel_id })),
	},
	{ key: "mtls_certificates", plugin: "mtls", options: record("mtlsCertificates", ({ certificate_id }) => ({ certificate_id })) },
	{ key: "artifacts", plugin: "artifacts", options: record("artifacts", ({ namespace }) => ({ namespace })) },
	{ key: "flagship", plugin: "flagship", options: record("flagship", ({ binding, app_id = binding }) => ({ app_id })) },
	{ key: "pipelines", plugin: "pipelines", options: record("pipelines", ({ stream, pipeline }) => (stream ? { stream } : { pipeline })) },
	{ key: "k2", plugin: "k2", always: true, options: record("k2", ({ stream }) => ({ stream })) },
	{ key: "hyperdrive", plugin: "hyperdrive", options: record("hyperdrives", ({ id }) => ({ id })) },
	{ key: "analytics_engine_datasets", plugin: "analytics-engine", options: record("analyticsEngineDatasets", ({ dataset = "dataset" }) => ({ dataset })) },
	{ key: "agent_memory", plugin: "agent-memory", always: true, options: record("agentMemory", ({ namespace }) => ({ namespace })) },
	{ key: "ai_search", plugin: "ai-search", always: true, options: record("aiSearchInstances", ({ instance_name }) => ({ instance_name })) },
	{ key: "ai_search_namespaces", plugin: "ai-search", always: true, options: record("aiSearchNamespaces", ({ namespace }) => ({ namespace })) },
	{
		key: "send_email",
		plugin: "email",
		options: (name, { destination_address, allowed_destination_addresses, allowed_sender_addresses }, remote) => ({
			email: { send_email: [{ name, destination_address, allowed_destination_addresses, allowed_sender_addresses, ...remote }] },
		}),
	},
];

/**
 * @typedef {object} RemoteBinding
 * @property {Kind} kind
 * @property {string} name
 * @property {any} entry its entry in the configuration
 */

/**
 * Divides a configuration, or one of its environments, into its remote bindings and the rest of it.
 *
 * @param {Record<string, any>} config
 * @returns {{ remote: RemoteBinding[], rest: Record<string, any> }}
 */
export function divide(config) {
	const rest = { ...config };
	/** @type {RemoteBinding[]} */
	const remote = [];
	for (const kind of KINDS) {
		const listed = config[kind.key];
		if (listed === undefined || listed === null) continue;
		const entries = Array.isArray(listed) ? listed : [listed];
		const isRemote = (/** @type {any} */ entry) => entry?.remote === true || (kind.always && entry?.remote !== false);
		const left = entries.filter((entry) => !isRemote(entry));
		if (left.length === entries.length) continue;
		rest[kind.key] = Array.isArray(listed) ? left : undefined;
		for (const entry of entries.filter(isRemote)) remote.push({ kind, name: entry.binding ?? entry.name, entry });
	}
	return { remote, rest };
}

/**
 * miniflare's options for bindings, each with the connection string.
 *
 * @param {RemoteBinding[]} bindings
 * @param {URL} url
 * @returns {Record<string, any>}
 */
export function miniflareOptions(bindings, url) {
	/** @type {Record<string, any>} */
	const all = {};
	for (const { kind, name, entry } of bindings) {
		for (const [option, value] of Object.entries(kind.options(name, entry, { remoteProxyConnectionString: url }))) {
			if (option === "email") all.email = { send_email: [...(all.email?.send_email ?? []), ...value.send_email] };
			else all[option] = { ...all[option], ...value };
		}
	}
	return all;
}
