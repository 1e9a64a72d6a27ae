// Runs one script in Chromium: `node run.mjs '{"peers","chromium","script","url","shots","more"}'`.
//
// The script's default export gets
//   page     a playwright page, already at the URL,
//   url      that URL,
//   shot     shot(name): a screenshot of the whole page, kept as NAME.png,
//   wide     wide(pixels): how much the page is wider than the window of that width (0 is right),
//   more     what else the test wants it to know,
//   errors   what the page logged as errors or left uncaught; a script takes out what it provoked.
// What it returns is printed as JSON.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const { peers, chromium, script, url, shots, more } = JSON.parse(process.argv[2]);
const playwright = createRequire(`${peers}/`)("playwright-core");
const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });
try {
	const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
	page.setDefaultTimeout(30_000);
	const errors = [];
	page.on("pageerror", (error) => errors.push(`uncaught: ${error.message}`));
	page.on("console", (message) => {
		if (message.type() === "error") errors.push(`logged: ${message.text()}`);
	});
	const shot = (name) => page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
	const wide = async (width) => {
		await page.setViewportSize({ width, height: 800 });
		return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
	};
	await page.goto(url);
	const { default: run } = await import(script);
	const result = await run({ page, url, shot, wide, errors, more });
	assert.deepEqual(errors, [], "the page had errors");
	console.log(JSON.stringify(result ?? null));
} finally {
	await browser.close();
}
