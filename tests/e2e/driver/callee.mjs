// The Worker at the far end of the service binding.
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

class Counter extends RpcTarget {
	#count;
	constructor(count) {
		super();
		this.#count = count;
	}
	increment(by = 1) {
		this.#count += by;
		return this.#count;
	}
	get value() {
		return this.#count;
	}
}

export class Admin extends WorkerEntrypoint {
	async fetch(request) {
		const url = new URL(request.url);
		if (request.headers.get("upgrade") === "websocket") {
			const [client, server] = Object.values(new WebSocketPair());
			server.binaryType = "arraybuffer";
			server.accept();
			server.addEventListener("message", ({ data }) => server.send(data));
			const headers = { "sec-websocket-protocol": request.headers.get("sec-websocket-protocol") ?? "none" };
			return new Response(null, { status: 101, webSocket: client, headers });
		}
		if (url.pathname === "/redirect") return Response.redirect("https://elsewhere.example/", 302);
		// What comes in goes out, without waiting for its end.
		if (url.pathname === "/echo") return new Response(request.body, { headers: { "x-url": request.url } });
		const document = { url: request.url, method: request.method, word: request.headers.get("x-word"), props: this.ctx.props, greeting: this.env.GREETING };
		return Response.json(document, { status: 203, headers: { "x-from": "callee" } });
	}
	add(a, b) {
		return a + b;
	}
	props() {
		return this.ctx.props;
	}
	echo(value) {
		return value;
	}
	get version() {
		return "v7";
	}
	counter(count) {
		return new Counter(count);
	}
	async callMe(callback) {
		return (await callback(20)) + 1;
	}
	fail(message, code) {
		throw Object.assign(new RangeError(message), { code });
	}
	words() {
		return new ReadableStream({
			start(controller) {
				for (const word of ["fair", " ", "winds"]) controller.enqueue(new TextEncoder().encode(word));
				controller.close();
			},
		});
	}
	async length(stream) {
		let length = 0;
		for await (const chunk of stream) length += chunk.byteLength;
		return length;
	}
	async visits() {
		await this.env.VISITS.exec("CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY)");
		await this.env.VISITS.prepare("INSERT INTO visits DEFAULT VALUES").run();
		return this.env.VISITS.prepare("SELECT count(*) AS n FROM visits").first("n");
	}
}

export default {
	fetch: () => new Response("the default entrypoint"),
};
