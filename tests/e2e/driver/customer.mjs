// A customer's Worker in the dispatch namespace.
import { WorkerEntrypoint } from "cloudflare:workers";

export default class extends WorkerEntrypoint {
	async fetch(request) {
		const url = new URL(request.url);
		if (url.pathname === "/out") return fetch("https://api.example/data", { headers: { "x-customer": "yes" } });
		return Response.json({ customer: this.env.NAME, url: request.url, method: request.method, body: await request.text() });
	}
	greet(who) {
		return `${this.env.NAME} greets ${who}`;
	}
}
