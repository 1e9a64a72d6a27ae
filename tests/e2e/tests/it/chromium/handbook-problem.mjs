import assert from "node:assert/strict";

export default async function ({ page }) {
	await page.waitForFunction(() => document.querySelectorAll("#documents li button").length === 5);
	await page.fill("#question", "Is it foggy?");
	await page.click("#send");
	await page.locator("#problem").waitFor({ state: "visible" });
	assert.equal(await page.locator("#status").innerText(), "That failed.");
	assert.equal(await page.locator("#calls li li .bad").count(), 1);
	// What came before it broke is still there.
	assert.match(await page.locator(".said").innerText(), /^you said:/);
}
