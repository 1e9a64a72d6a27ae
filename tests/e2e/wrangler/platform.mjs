// getPlatformProxy and unstable_startWorker: what user code of either sees, one line `result {…}` each.
import { getPlatformProxy, unstable_startWorker } from "wrangler";

const show = (name, result) => console.log(`result ${JSON.stringify({ name, result })}`);

const proxy = await getPlatformProxy({ configPath: "wrangler.jsonc", persist: false });
{
	const { env } = proxy;
	show("platform", {
		d1: (await env.DB.prepare("SELECT 1 AS one").all()).results,
		vectorize: await env.VEC.describe(),
		fetch: await (await env.SVC.fetch("https://callee.example/a")).json(),
		rpc: await env.SVC.add(1, 2),
		dispatch: await env.CUSTOMERS.get("one").greet("Zoë"),
		vpc: (await env.VPC.fetch(`http://${process.argv[2]}/a`)).status,
		models: await env.AI.models(),
	});
}
await proxy.dispose();

const worker = await unstable_startWorker({
	config: "wrangler.jsonc",
	dev: { server: { port: 0 }, inspector: false, persist: false, watch: false },
});
const call = async (call, args) => {
	const answer = await worker.fetch("http://worker.example/", { method: "POST", body: JSON.stringify({ call, args }) });
	return (await answer.json()).result;
};
show("worker", {
	d1: (await call("d1.all", { sql: "SELECT 1 AS one" })).results,
	vectorize: await call("vec.describe", {}),
	rpc: await call("svc.call", { method: "add", args: [1, 2] }),
	dispatch: await call("dispatch.call", { name: "two", method: "greet", args: ["Zoë"] }),
	vpc: (await call("vpc.fetch", { url: `http://${process.argv[2]}/a` })).status,
	artifacts: (await call("art.create", { name: "worker" })).name,
	models: await call("ai.models", {}),
});
await worker.dispose();
process.exit(0);
