import assert from "node:assert/strict";

/** Sends a form as a page with a progress bar does, which makes the browser ask first whether it may. */
const post = (link) =>
	new Promise((resolve, reject) => {
		const canvas = new OffscreenCanvas(40, 20);
		canvas.getContext("2d").fillRect(0, 0, 40, 20);
		canvas.convertToBlob({ type: "image/png" }).then((blob) => {
			const form = new FormData();
			form.append("file", blob, "drawn.png");
			const request = new XMLHttpRequest();
			let progress = 0;
			request.upload.addEventListener("progress", () => (progress += 1));
			request.addEventListener("load", () =>
				resolve({ status: request.status, progress, said: request.responseText }),
			);
			request.addEventListener("error", () => reject(new Error("the page may not")));
			request.open("POST", link);
			request.send(form);
		}, reject);
	});

const show = (url) =>
	new Promise((resolve, reject) => {
		const image = new Image();
		image.onload = () => resolve([image.naturalWidth, image.naturalHeight]);
		image.onerror = () => reject(new Error("no image"));
		image.src = url;
		document.body.append(image);
	});

export default async function ({ page, url, errors, more: { link, shown } }) {
	if (shown !== undefined) {
		assert.notEqual(new URL(shown).origin, new URL(url).origin);
		assert.deepEqual(await page.evaluate(show, shown), [40, 20]);
		return;
	}
	assert.notEqual(new URL(link).origin, new URL(url).origin);
	const first = await page.evaluate(post, link);
	assert.equal(first.status, 200);
	assert.ok(first.progress > 0);
	// Once. The page can read why.
	const second = await page.evaluate(post, link);
	assert.equal(second.status, 409);
	assert.match(second.said, /already used/);
	assert.equal(errors.length, 1, "the browser logs the second answer");
	errors.length = 0;
	return JSON.parse(first.said);
}
