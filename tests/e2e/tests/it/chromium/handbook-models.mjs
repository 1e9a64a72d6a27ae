import assert from "node:assert/strict";

// What is asked, which document knows, and what the passage says. What a small model makes of it is its own.
const QUESTIONS = [
	["How much is one night for a boat of 10 metres?", "fees.csv", "26 euros"],
	["What do two black balls mean?", "weather.txt", "nobody leaves the harbour"],
	["When can I buy diesel?", "services.html", "08:00 to 18:00"],
	["Where may I light a barbecue?", "rules.md", "beside the slipway"],
];

export default async function ({ page, shot }) {
	page.setDefaultTimeout(90_000);
	await page.waitForFunction(() => document.querySelectorAll("#documents li button").length === 5);
	for (const [question, document, fact] of QUESTIONS) {
		await page.fill("#question", question);
		await page.keyboard.press("Enter");
		await page.waitForFunction(
			(asked) => globalThis.document.querySelector("article h2")?.textContent === asked && globalThis.document.getElementById("send").textContent === "Ask",
			question,
		);
		const article = page.locator("#answers article").first();
		const sources = await article.locator("details").evaluateAll((all) => all.map((one) => one.textContent));
		assert(sources.some((text) => text.includes(fact)), `${document} among the sources of "${question}": ${sources}`);
		assert.notEqual((await article.locator(".said").innerText()).trim(), "");
	}
	await shot("handbook-models");
}
