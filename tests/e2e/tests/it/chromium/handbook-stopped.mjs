import assert from "node:assert/strict";

export default async function ({ page, shot }) {
	await page.waitForFunction(() => document.querySelectorAll("#documents li button").length === 5);
	await page.getByRole("button", { name: "When can I buy diesel?" }).click();
	await page.waitForFunction(() => document.querySelector(".said")?.textContent.includes("drop drop"));
	assert.equal(await page.locator("#send").innerText(), "Stop");
	await shot("handbook-busy");
	await page.keyboard.press("Escape");
	await page.waitForFunction(() => document.getElementById("status").textContent === "Stopped.");
	assert(await page.locator("#problem").isHidden());
	// What was said stays, and the next question may be asked.
	assert.match(await page.locator(".said").innerText(), /^drop drop/);
	assert.equal(await page.locator("#send").innerText(), "Ask");
}
