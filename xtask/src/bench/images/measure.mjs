// Makes the same pictures with sharp and with a remote's Images, in turn: one line of JSON a row,
//   {"row", "ours", "theirs"} in pictures a second.
// Arguments: the folder of the installed peers (sharp comes with miniflare), the remote's URL.
import { createRequire } from "node:module";

const [peers, remote] = process.argv.slice(2);
const sharp = createRequire(`${peers}/`)("sharp");
// One picture is one core's work on both sides.
sharp.concurrency(1);
sharp.cache(false);
const ROUNDS = 9;

/** Soft shapes and texture, as a photograph has. */
function scene(width, height) {
	const data = Buffer.alloc(width * height * 3);
	for (let y = 0, at = 0; y < height; y++) {
		for (let x = 0; x < width; x++, at += 3) {
			const wave = 40 * Math.sin(x / 23) * Math.cos(y / 17) + ((x * 7919 + y * 104729) % 17);
			data[at] = 60 + (x * 120) / width + wave;
			data[at + 1] = 70 + (y * 110) / height + wave;
			data[at + 2] = 150 - (x * 60) / width + wave;
		}
	}
	return sharp(data, { raw: { width, height, channels: 3 } });
}

const photo = await scene(4000, 3000).jpeg({ quality: 90 }).toBuffer();
const screen = await scene(1600, 1200).png().toBuffer();
const rows = [
	{ row: "12 MP JPEG to 800x600 JPEG", input: photo, width: 800, height: 600, format: "jpeg", quality: 85 },
	{ row: "12 MP JPEG to 800x600 WebP", input: photo, width: 800, height: 600, format: "webp", quality: 80 },
	{ row: "2 MP PNG to 400x300 PNG", input: screen, width: 400, height: 300, format: "png" },
];

/** The request of a row: made once, for the making is Node's work and not what is measured. */
async function request({ input, width, height, format, quality }) {
	const form = new FormData();
	form.append("image", new Blob([input]), "image");
	form.append("transforms", JSON.stringify([{ imageIndex: 0, width, height, fit: "squeeze" }]));
	form.append("output_format", `image/${format}`);
	if (quality) form.append("output_quality", String(quality));
	const wrapped = new Response(form);
	return {
		method: "POST",
		headers: {
			"MF-Binding": "IMAGES",
			"MF-URL": "https://js.images.cloudflare.com/transform",
			"MF-Header-content-type": wrapped.headers.get("content-type"),
		},
		body: await wrapped.arrayBuffer(),
	};
}

async function ours({ asked }) {
	const response = await fetch(remote, asked);
	const bytes = Buffer.from(await response.arrayBuffer());
	if (!response.ok) throw new Error(bytes.toString());
	return bytes;
}

/** The same kind of file: Images writes JPEGs of this size progressively, as is documented. */
const theirs = ({ input, width, height, format, quality }) =>
	sharp(input).resize(width, height, { fit: "fill" }).toFormat(format, { quality, ...(format === "jpeg" && { progressive: true }) }).toBuffer();

for (const row of rows) {
	row.asked = await request(row);
	const took = { ours: [], theirs: [] };
	for (let round = 0; round <= ROUNDS; round++) {
		for (const [who, make] of [["ours", ours], ["theirs", theirs]]) {
			const start = performance.now();
			const { width, height, format } = await sharp(await make(row)).metadata().finally(() => {
				// The first round warms up.
				if (round) took[who].push(performance.now() - start);
			});
			if (width !== row.width || height !== row.height || format !== row.format) throw new Error(`${who}: ${format}`);
		}
	}
	const rate = (times) => 1000 / times.sort((a, b) => a - b)[times.length >> 1];
	console.log(JSON.stringify({ row: row.row, ours: rate(took.ours), theirs: rate(took.theirs) }));
}
