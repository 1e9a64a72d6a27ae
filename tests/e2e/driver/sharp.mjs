// Compares what the remote makes of a picture with what sharp makes of it: one line of JSON a case,
//   {"name", "ours": [width, height], "theirs": [width, height], "ssim", "least"}
// Arguments: the folder of the installed peers (sharp comes with miniflare), the remote's URL, the binding.
import { createRequire } from "node:module";

const [peers, remote, binding] = process.argv.slice(2);
const sharp = createRequire(`${peers}/`)("sharp");
const [width, height] = [240, 160];

/** Soft shapes, edges and a little texture, as a photograph has; `clear` adds a transparent corner. */
function scene(clear) {
	const data = Buffer.alloc(width * height * 4);
	for (let y = 0; y < height; y++) {
		for (let x = 0; x < width; x++) {
			const disc = Math.hypot(x - 80, y - 70) < 45;
			const bar = x > 150 && x < 200 && y > 30 && y < 130;
			const wave = 20 * Math.sin(x / 9) * Math.cos(y / 7);
			const at = (y * width + x) * 4;
			data[at] = Math.max(0, Math.min(255, (disc ? 210 : 60) + x / 3 + wave));
			data[at + 1] = Math.max(0, Math.min(255, (bar ? 190 : 70) + y / 3 + wave));
			data[at + 2] = Math.max(0, Math.min(255, 140 - x / 4 + wave));
			data[at + 3] = clear && x + y < 120 ? 0 : clear && x > 200 ? 128 : 255;
		}
	}
	return sharp(data, { raw: { width, height, channels: 4 } });
}

const inputs = {
	jpeg: await scene(false).jpeg({ quality: 95 }).toBuffer(),
	png: await scene(false).removeAlpha().png().toBuffer(),
	webp: await scene(false).webp({ quality: 95 }).toBuffer(),
	clear: await scene(true).png().toBuffer(),
};
const logo = await sharp(inputs.png).resize(40, 30, { fit: "fill" }).negate().png().toBuffer();
const ghost = await sharp(logo).ensureAlpha(0.5).png().toBuffer();
const white = "#ffffff";

/** A case: our transforms, sharp's calls, the input, the format, the least similarity, an overlay. */
const one = (name, ours, theirs, { input = "png", format = "png", options = {}, least = 0.97, draw } = {}) => ({
	name, ours, theirs, input, format, options, least, draw,
});
const to = (format, options = {}) => [format, format === "gif" ? {} : { quality: 85, ...options }];

const cases = [];
for (const input of ["jpeg", "png", "webp"]) {
	for (const format of ["jpeg", "png", "webp", "gif", "avif"]) {
		// A palette, dithered there and not here.
		const least = format === "gif" ? 0.85 : 0.97;
		const call = format === "png" ? ["png"] : to(format);
		cases.push(one(`${input} to ${format}`, [{ width: 120 }], [["resize", { width: 120 }], call], { input, format, least }));
	}
}
for (const [fit, size, options] of [
	["scale-down", [100, 100], { fit: "inside", withoutEnlargement: true }],
	["scale-down", [500, 500], { fit: "inside", withoutEnlargement: true }],
	["contain", [300, 300], { fit: "inside" }],
	["cover", [100, 100], { fit: "cover" }],
	["cover", [300, 300], { fit: "cover" }],
	["crop", [100, 100], { fit: "cover", withoutEnlargement: true }],
	["squeeze", [100, 100], { fit: "fill" }],
	["pad", [200, 200], { fit: "contain", background: white }],
	["pad", [300, 300], { fit: "contain", background: white }],
]) {
	const name = `${fit} ${size.join("x")}`;
	cases.push(one(name, [{ width: size[0], height: size[1], fit }], [["resize", ...size, options]]));
}
for (const position of ["left", "right", "top", "bottom"]) {
	const ours = { width: 100, height: position === "top" || position === "bottom" ? 40 : 100, fit: "cover", gravity: position };
	cases.push(one(`gravity ${position}`, [ours], [["resize", ours.width, ours.height, { fit: "cover", position }]]));
}
for (const angle of [90, 180, 270]) cases.push(one(`rotate ${angle}`, [{ rotate: angle }], [["rotate", angle]]));
cases.push(
	one("flip h", [{ flip: "h" }], [["flop"]]),
	one("flip v", [{ flip: "v" }], [["flip"]]),
	one("flip hv", [{ flip: "hv" }], [["flip"], ["flop"]]),
	one("trim", [{ trim: { left: 20, top: 10, right: 30, bottom: 5 } }], [["extract", { left: 20, top: 10, width: 190, height: 145 }]]),
	one("trim to a size", [{ trim: { left: 20, top: 10, width: 100, height: 90 } }], [["extract", { left: 20, top: 10, width: 100, height: 90 }]]),
	one("background", [{ background: "#2040a0" }], [["flatten", { background: "#2040a0" }]], { input: "clear" }),
	one("transparent, smaller", [{ width: 100 }], [["resize", { width: 100 }]], { input: "clear" }),
	one("transparent as webp", [{ width: 100 }], [["resize", { width: 100 }], to("webp")], { input: "clear", format: "webp" }),
	one("brightness 0.5", [{ brightness: 0.5 }], [["linear", 0.5, 0]]),
	one("brightness 1.5", [{ brightness: 1.5 }], [["linear", 1.5, 0]]),
	one("contrast 0.5", [{ contrast: 0.5 }], [["linear", 0.5, 63.75]]),
	one("contrast 2", [{ contrast: 2 }], [["linear", 2, -127.5]]),
	// sharp takes the colors out of another space.
	one("saturation 0", [{ saturation: 0 }], [["greyscale"]], { least: 0.9 }),
	one("saturation 1.5", [{ saturation: 1.5 }], [["modulate", { saturation: 1.5 }]], { least: 0.85 }),
	one("blur 4", [{ blur: 4 }], [["blur", 2]]),
	one("blur 20", [{ blur: 20 }], [["blur", 10]]),
	// sharp sharpens the lightness alone, and flat areas less.
	one("sharpen 1", [{ sharpen: 1 }], [["sharpen", { sigma: 1, m1: 1, m2: 1 }]], { least: 0.85 }),
	one("border", [{ border: { color: "#2040a0", top: 5, right: 10, bottom: 15, left: 20 } }], [["extend", { top: 5, right: 10, bottom: 15, left: 20, background: "#2040a0" }]]),
	one("jpeg at 50", [], [["jpeg", { quality: 50 }]], { format: "jpeg", options: { quality: 50 }, least: 0.95 }),
	one("avif at 50", [], [["avif", { quality: 50 }]], { format: "avif", options: { quality: 50 }, least: 0.95 }),
	one("transparent as avif", [{ width: 100 }], [["resize", { width: 100 }], to("avif")], { input: "clear", format: "avif" }),
	one("webp at 50", [], [["webp", { quality: 50 }]], { format: "webp", options: { quality: 50 }, least: 0.95 }),
	one("draw in the corner", [], [["composite", [{ input: logo, left: 195, top: 125 }]]], { draw: [logo, { right: 5, bottom: 5 }] }),
	one("draw in the middle", [], [["composite", [{ input: logo, gravity: "centre" }]]], { draw: [logo, {}] }),
	one("draw as tiles", [], [["composite", [{ input: logo, tile: true, gravity: "northwest" }]]], { draw: [logo, { repeat: true }] }),
	one("draw half through", [], [["composite", [{ input: ghost, left: 3, top: 4 }]]], { draw: [logo, { left: 3, top: 4, opacity: 0.5 }] }),
	one("draw atop", [], [["composite", [{ input: logo, left: 30, top: 40, blend: "atop" }]]], { input: "clear", draw: [logo, { left: 30, top: 40, composite: "atop" }] }),
	one("draw xor", [], [["composite", [{ input: logo, left: 30, top: 40, blend: "xor" }]]], { input: "clear", draw: [logo, { left: 30, top: 40, composite: "xor" }] }),
);

async function made({ ours, input, format, options, draw }) {
	const transforms = ours.map((transform) => ({ imageIndex: 0, ...transform }));
	const form = new FormData();
	form.append("image", new Blob([inputs[input]]), "image");
	if (draw) {
		form.append("draw_image", new Blob([draw[0]]), "draw_image");
		transforms.push({ drawImageIndex: 1, targetImageIndex: 0, ...draw[1] });
	}
	form.append("transforms", JSON.stringify(transforms));
	form.append("output_format", `image/${format}`);
	if (options.quality) form.append("output_quality", String(options.quality));
	const { headers, body } = ((response) => ({ headers: response.headers, body: response.arrayBuffer() }))(new Response(form));
	const response = await fetch(remote, {
		method: "POST",
		headers: {
			"MF-Binding": binding,
			"MF-URL": "https://js.images.cloudflare.com/transform",
			"MF-Header-content-type": headers.get("content-type"),
		},
		body: await body,
	});
	const bytes = Buffer.from(await response.arrayBuffer());
	if (!response.ok) throw new Error(bytes.toString());
	return bytes;
}

/** Lightness on grey, so that transparency counts. */
async function light(bytes) {
	const { data, info } = await sharp(bytes).flatten({ background: "#808080" }).toColourspace("srgb").removeAlpha().raw().toBuffer({ resolveWithObject: true });
	const values = new Float64Array(info.width * info.height);
	for (let at = 0; at < values.length; at++) {
		const color = at * info.channels;
		values[at] = info.channels < 3 ? data[color] : 0.2126 * data[color] + 0.7152 * data[color + 1] + 0.0722 * data[color + 2];
	}
	return { values, size: [info.width, info.height] };
}

/** The mean structural similarity of windows of eight by eight (Wang et al. 2004). */
function ssim(one, other, [width, height]) {
	let [sum, count] = [0, 0];
	for (let top = 0; top + 8 <= height; top += 4) {
		for (let left = 0; left + 8 <= width; left += 4) {
			let [a, b, aa, bb, ab] = [0, 0, 0, 0, 0];
			for (let y = top; y < top + 8; y++) {
				for (let x = left; x < left + 8; x++) {
					const [p, q] = [one[y * width + x], other[y * width + x]];
					[a, b, aa, bb, ab] = [a + p, b + q, aa + p * p, bb + q * q, ab + p * q];
				}
			}
			[a, b] = [a / 64, b / 64];
			const [varA, varB, covariance] = [aa / 64 - a * a, bb / 64 - b * b, ab / 64 - a * b];
			const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
			sum += ((2 * a * b + c1) * (2 * covariance + c2)) / ((a * a + b * b + c1) * (varA + varB + c2));
			count += 1;
		}
	}
	return sum / count;
}

for (const each of cases) {
	const line = { name: each.name, least: each.least };
	try {
		let theirs = sharp(inputs[each.input]);
		for (const [method, ...args] of each.theirs) theirs = theirs[method](...args);
		const [ours, right] = await Promise.all([made(each).then(light), theirs.toBuffer().then(light)]);
		const same = ours.size.join() === right.size.join();
		Object.assign(line, { ours: ours.size, theirs: right.size, ssim: same ? ssim(ours.values, right.values, ours.size) : 0 });
	} catch (error) {
		line.error = String(error);
	}
	process.stdout.write(`${JSON.stringify(line)}\n`);
}
