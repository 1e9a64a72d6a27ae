// Makes the calls of calls.json through getPlatformProxy, in Node, and prints each answer as the test Worker would.
import { readFileSync } from "node:fs";

import { dispose, env, remote } from "./platform.mjs";

const described = async (response) => ({
	status: response.status,
	headers: Object.fromEntries(response.headers),
	body: await response.text(),
});
const run = {
	"d1.first": ({ sql }) => env.DB.prepare(sql).first(),
	"vec.describe": () => env.VEC.describe(),
	"ai.run": async ({ model, inputs }) => ({ result: await env.AI.run(model, inputs) }),
	"art.create": async ({ name }) => {
		const made = await env.ART.create(name);
		return { name: made.name, token: made.token };
	},
	"svc.call": ({ method, args }) => env.SVC[method](...args),
	"svc.fetch": async ({ url }) => described(await env.SVC.fetch(url)),
	"dispatch.call": ({ name, method, args }) => env.CUSTOMERS.get(name)[method](...args),
	"dispatch.fetch": async ({ name, url }) => described(await env.CUSTOMERS.get(name).fetch(url)),
	"vpc.fetch": async ({ url }) => described(await env.VPC.fetch(url)),
	"mail.builder": ({ message }) => env.MAIL.send(message),
};
for (const [call, args] of JSON.parse(readFileSync("calls.json", "utf8"))) {
	try {
		console.log(`ANSWER ${JSON.stringify({ call, ok: true, result: await run[call](args) })}`);
	} catch (error) {
		console.log(`ANSWER ${JSON.stringify({ call, ok: false, error: { name: error.name, message: error.message } })}`);
	}
}
await dispose();
await remote.close();
