// Makes the calls of calls.json on the test Worker inside Vitest's pool, and prints each answer.
import { env } from "cloudflare:workers";
import { it } from "vitest";

import calls from "./calls.json";
import worker from "./worker.mjs";

for (const [call, args] of calls) {
	it(call, async () => {
		const request = new Request("http://worker.test/", { method: "POST", body: JSON.stringify({ call, args }) });
		console.log(`ANSWER ${await (await worker.fetch(request, env)).text()}`);
	});
}
