import assert from "node:assert/strict";

export default async function ({ page, shot, wide }) {
	// On the first visit it reads its own documents; every call is shown, and none is left running.
	const documents = page.locator("#documents li");
	await page.waitForFunction(() => document.querySelectorAll("#documents li button").length === 5);
	const calls = await page.locator("#calls li li").allInnerTexts();
	for (const call of ['AI\ntoMarkdown("fees.csv")', "VEC\nupsert(", "DB\nINSERT INTO documents", "VEC\ndescribe()"]) {
		assert(calls.some((text) => text.startsWith(call)), `${call} is in ${calls}`);
	}
	assert.deepEqual(calls.filter((text) => text.includes("…\n")), []);
	assert.match(await page.locator("#models").innerText(), /llama-3\.2-1b-instruct\s+is echo at OpenAI-compatible/);

	// By keyboard: slash to the question, Enter to ask.
	await page.keyboard.press("/");
	assert.equal(await page.evaluate(() => document.activeElement.id), "question");
	await page.keyboard.type("When is it quiet?");
	await page.keyboard.press("Enter");
	const article = page.locator("#answers article").first();
	await page.waitForFunction(() => document.getElementById("send").textContent === "Ask");
	const said = await article.locator(".said").innerText();
	assert(said.startsWith("you said: ") && said.endsWith("According to the text, when is it quiet?"), said);
	assert.equal(await article.getAttribute("aria-busy"), null);
	assert.equal((await page.locator("#status").textContent()).replace(/\s+/g, " "), said.replace(/\s+/g, " "));
	const sources = article.locator("details");
	assert.equal(await sources.count(), 3);

	// On to a source, opened by keyboard.
	for (let tabs = 0; tabs < 40; tabs++) {
		await page.keyboard.press("Tab");
		if (await page.evaluate(() => document.activeElement.tagName === "SUMMARY")) break;
	}
	await page.keyboard.press("Enter");
	await sources.first().locator("pre").waitFor({ state: "visible" });

	// Everything that can be used has a name for those who do not see it.
	const nameless = await page.evaluate(() =>
		[...document.querySelectorAll("button, input, summary")]
			.filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length))
			.map((one) => one.outerHTML),
	);
	assert.deepEqual(nameless, []);

	// A document of one's own, and one that is none.
	await page.setInputFiles("#file", { name: "parrots.md", mimeType: "text/markdown", buffer: Buffer.from("# Parrots\n\nParrots pay half.") });
	await page.locator("#documents .name", { hasText: "parrots.md" }).waitFor();
	assert.equal(await documents.count(), 6);
	await page.setInputFiles("#file", { name: "noise.txt", mimeType: "text/plain", buffer: Buffer.from([0xff, 0xfe, 0xfd]) });
	await page.locator("#problem").waitFor({ state: "visible" });
	assert.match(await page.locator("#problem").innerText(), /^noise\.txt: /);
	await page.getByRole("button", { name: "Remove parrots.md" }).click();
	await page.waitForFunction(() => document.querySelectorAll("#documents li button").length === 5);
	assert(await page.locator("#problem").isHidden());

	await shot("handbook");
	await page.emulateMedia({ colorScheme: "dark" });
	await shot("handbook-dark");
	await page.emulateMedia({ colorScheme: "light" });
	for (const width of [900, 360, 320]) {
		assert.equal(await wide(width), 0, `at ${width} pixels it is wider than the window`);
	}
	await wide(360);
	await shot("handbook-narrow");
}
