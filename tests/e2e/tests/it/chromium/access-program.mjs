import assert from "node:assert/strict";

export default async function ({ page, shot, errors, more }) {
	await page.keyboard.type("ada@example.com");
	await page.keyboard.press("Enter");
	await page.locator("input[name=code]").waitFor();
	await page.keyboard.type(await (await fetch(`${more.operator}/ada@example.com`)).text());
	await page.keyboard.press("Enter");
	// The page says who asks for what, and nothing is handed over before she agrees.
	const agree = page.getByRole("button", { name: "Agree" });
	await agree.waitFor();
	const says = await page.locator("body").innerText();
	assert(says.includes("ada@example.com") && says.includes(more.host), says);
	await shot("access-agree");
	await agree.click();
	await page.getByText("You are signed in, and so is the program.").waitFor();
	assert.deepEqual(errors, []);
}
