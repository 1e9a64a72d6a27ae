// Both bindings are elsewhere, behind Access: one is called by fetch, the other by rpc.
export default {
	async fetch(_, env) {
		await env.DB.exec("CREATE TABLE IF NOT EXISTS visits (at TEXT)");
		await env.DB.prepare("INSERT INTO visits VALUES (datetime('now'))").run();
		const visits = await env.DB.prepare("SELECT count(*) AS visits FROM visits").first("visits");
		// After the first visit it is there already.
		await env.ART.create("first").catch(() => {});
		const { repos } = await env.ART.list();
		return Response.json({ visits, repositories: repos.map(({ name }) => name) });
	},
};
