// What a user's own tests would check.
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";

it("D1", async () => {
	const { results } = await env.DB.prepare("SELECT 1 AS one").all();
	expect(results).toEqual([{ one: 1 }]);
});
it("Vectorize", async () => {
	expect((await env.VEC.describe()).dimensions).toBe(3);
});
it("service, fetch", async () => {
	const answer = await env.SVC.fetch("https://callee.example/a");
	expect((await answer.json()).props).toEqual({ role: "admin" });
});
it("service, rpc", async () => {
	expect(await env.SVC.add(1, 2)).toBe(3);
});
it("dispatch", async () => {
	expect(await env.CUSTOMERS.get("one").greet("Zoë")).toBe("one greets Zoë");
});
it("artifacts", async () => {
	expect((await env.ART.create("vitest")).name).toBe("vitest");
});
it("AI", async () => {
	expect(await env.AI.models()).toEqual([]);
});
