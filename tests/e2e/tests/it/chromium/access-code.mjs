import assert from "node:assert/strict";

export default async function ({ page, url, shot, errors, more }) {
	const { host } = new URL(url);
	const codeOf = async (email) => (await fetch(`${more.operator}/${email}`)).text();

	// The protected page leads to the team's login, which says what it is for and that it is for development.
	assert.match(new URL(page.url()).hostname, /\.cloudflareaccess\.com\.localhost$/);
	assert.equal(await page.title(), "Sign in \u30fb Cloudflare Access");
	assert.match(await page.locator("body").innerText(), /For development only/);
	assert.match(await page.locator("body").innerText(), new RegExp(host));
	await shot("access-address");

	// By keyboard: the field is focused, Enter sends.
	await page.keyboard.type("ada@example.com");
	await page.keyboard.press("Enter");
	await page.locator("input[name=code]").waitFor();
	await page.keyboard.type("nonsense");
	await page.keyboard.press("Enter");
	await page.getByText("That is not the code.").waitFor();
	await page.keyboard.type(await codeOf("ada@example.com"));
	await shot("access-code");
	await page.keyboard.press("Enter");

	// Back where it began, with a session that scripts of the page cannot read.
	await page.waitForURL(url);
	const mirrored = JSON.parse(await page.locator("body").innerText());
	assert.deepEqual(mirrored.headers["cf-access-authenticated-user-email"], ["ada@example.com"]);
	assert.equal(await page.evaluate(() => document.cookie), "");
	const cookies = await page.context().cookies();
	const session = cookies.filter(({ name }) => name === "CF_Authorization");
	assert.equal(session.length, 2, "one of the application, one of the team");
	assert(session.every(({ httpOnly, secure }) => httpOnly && secure));

	// Another application of the team asks nothing.
	await page.goto(more.other);
	assert.equal(page.url(), more.other);

	// Logged out here is logged out there, and the team asks again.
	await page.goto(more.logout);
	for (const place of [url, more.other]) {
		await page.goto(place);
		await page.locator("input[name=email]").waitFor();
	}

	// Whoever no policy admits gets the block page.
	await page.keyboard.type("eve@elsewhere.example");
	await page.keyboard.press("Enter");
	await page.locator("input[name=code]").waitFor();
	await page.keyboard.type(await codeOf("eve@elsewhere.example"));
	await page.keyboard.press("Enter");
	await page.getByText("Forbidden").first().waitFor();
	assert.equal(await page.title(), "Error \u30fb Cloudflare Access");
	// Two refusals were provoked.
	assert(errors.splice(0).every((error) => /403/.test(error)));
}
