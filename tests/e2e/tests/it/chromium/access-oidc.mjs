import assert from "node:assert/strict";

export default async function ({ page, url, shot, errors, more }) {
	const logIn = async (login) => {
		await page.goto(url);
		assert(page.url().startsWith(more.provider), page.url());
		await page.locator("input[name=login]").fill(login);
		await page.locator("input[name=password]").fill("any");
		await page.locator("button[type=submit]").click();
		await page.locator("input[name=prompt][value=consent]").waitFor({ state: "attached" });
		await page.locator("button[type=submit]").click();
	};
	await shot("access-provider");
	await logIn("ada@example.com");
	await page.waitForURL(url);
	const mirrored = JSON.parse(await page.locator("body").innerText());
	assert.deepEqual(mirrored.headers["cf-access-authenticated-user-email"], ["ada@example.com"]);
	assert.equal(await page.evaluate(() => document.cookie), "");

	// Somebody whose address the provider has not verified, and somebody whom no policy admits.
	for (const [login, says] of [
		["unverified@example.com", /no verified e-mail address/],
		["eve@elsewhere.example", /Forbidden/],
	]) {
		await page.context().clearCookies();
		await logIn(login);
		await page.waitForURL((now) => !now.href.startsWith(more.provider));
		assert.match(await page.locator("body").innerText(), says);
	}
	// Refusals were provoked, and the provider's pages ask for fonts that are elsewhere.
	assert(errors.splice(0).every((error) => /403|Failed to load resource/.test(error)));
}
