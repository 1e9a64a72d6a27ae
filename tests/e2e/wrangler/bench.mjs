// One connector, measured through the connection string it gives: a program that prints `{"ready":true,"url":…}`. The first
// argument is the length of an outage of the API, in seconds. Prints one line `measured {…}`.
import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";

const [outage, ...program] = process.argv.slice(2);
const api = { authorization: `Bearer ${process.env.CLOUDFLARE_API_TOKEN}` };
const control = async (method, path, body) => {
	const answer = await fetch(`${process.env.BOWLINE_EDGE_CONTROL}${path}`, { method, headers: api, body });
	if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
	return answer.json();
};

/** Resident memory of a process and all below it, MB. */
function memory(pid) {
	const below = new Map();
	for (const name of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
		try {
			const stat = readFileSync(`/proc/${name}/stat`, "utf8");
			const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
			below.set(parent, [...(below.get(parent) ?? []), Number(name)]);
		} catch {
			// It ended while we looked.
		}
	}
	const sum = (pid) => {
		const resident = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
		return Number(resident?.[1] ?? 0) / 1000 + (below.get(pid) ?? []).map(sum).reduce((a, b) => a + b, 0);
	};
	return sum(pid);
}

async function connector() {
	const child = spawn(program[0], program.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
	for await (const line of createInterface({ input: child.stdout })) {
		if (!line.startsWith("{")) continue;
		return { url: new URL(JSON.parse(line).url), child };
	}
	throw new Error(`${program[0]} did not become ready`);
}

/** One answer, as far as it has come: its status once it is whole. */
function whole(text) {
	const head = text.indexOf("\r\n\r\n");
	if (head < 0) return undefined;
	const length = /^content-length: *(\d+)/im.exec(text.slice(0, head + 2))?.[1];
	const over = length === undefined ? text.endsWith("\r\n0\r\n\r\n") : text.length >= head + 4 + Number(length);
	return over ? Number(text.split(" ", 2)[1]) : undefined;
}

let kept;

/**
 * One request for the connector, on a connection that is kept. Written by hand: after a pause of 50 ms Node's `fetch` takes
 * three milliseconds for itself, more than the connectors do.
 */
function query(url) {
	if (kept === undefined || kept.destroyed) {
		kept = connect({ host: url.hostname, port: url.port, noDelay: true });
		// Between two requests nobody else listens, and an error without a listener ends Node.
		kept.on("error", () => {});
	}
	const socket = kept;
	return new Promise((resolve, reject) => {
		let text = "";
		const failed = (error) => socket.destroy(error ?? new Error("the connector closed the connection"));
		const take = (data) => {
			text += data.toString("latin1");
			const status = whole(text);
			if (status !== undefined) end(resolve, status);
		};
		const closed = (error) => end(reject, error);
		const end = (settle, result) => {
			clearTimeout(timer);
			socket.off("data", take).off("error", closed).off("end", failed);
			settle(result);
		};
		const timer = setTimeout(() => failed(new Error("no answer to a query")), 20_000);
		socket.on("data", take).on("error", closed).on("end", failed);
		const body = JSON.stringify({ sql: "SELECT 1", params: [] });
		const head = [
			`POST ${url.pathname}${url.search} HTTP/1.1`,
			`host: ${url.host}`,
			"MF-Binding: DB",
			"MF-URL: http://d1/query",
			"MF-Header-content-type: application/json",
			`content-length: ${body.length}`,
		];
		socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
	});
}

/** One method called, on a WebSocket of its own, as a client in workerd does it. */
function call(url) {
	const address = new URL(url);
	address.protocol = "ws:";
	address.searchParams.set("MF-Binding", "ART");
	return new Promise((resolve, reject) => {
		const socket = new WebSocket(address);
		const timer = setTimeout(() => reject(new Error("no answer to a call")), 20_000);
		socket.addEventListener("open", () => {
			socket.send(JSON.stringify(["push", ["pipeline", 0, ["list"], []]]));
			socket.send(JSON.stringify(["pull", 1]));
		});
		socket.addEventListener("error", () => reject(new Error("the WebSocket failed")));
		socket.addEventListener("message", ({ data }) => {
			const [kind, id] = JSON.parse(data);
			if (kind !== "resolve" || id !== 1) return reject(new Error(data));
			clearTimeout(timer);
			socket.close();
			resolve();
		});
	});
}

const since = (began) => performance.now() - began;

async function latencies(count, what) {
	const all = [];
	for (let turn = -3; turn < count; turn += 1) {
		const began = performance.now();
		await what();
		if (turn >= 0) all.push(since(began));
	}
	all.sort((a, b) => a - b);
	return { p50: all[all.length >> 1], p99: all[Math.floor(all.length * 0.99)] };
}

async function recovery(url, began) {
	while ((await query(url).catch(() => 0)) !== 200) await new Promise((resolve) => setTimeout(resolve, 5));
	return since(began);
}

const began = performance.now();
const { url, child } = await connector();
const measured = { ready: since(began) };
if ((await query(url)) !== 200) throw new Error("the first query failed");
measured.first = since(began);
measured.memory = memory(child.pid);
measured.fetch = await latencies(100, () => query(url));
measured.rpc = await latencies(100, () => call(url));
const { connections } = await control("GET", "");
for (let turn = 0; turn < 100; turn += 1) await call(url);
measured.sockets = (await control("GET", "")).connections - connections;

await control("POST", "/expire/previews");
measured.expiry = await recovery(url, performance.now());
if (Number(outage) > 0) {
	await control("PUT", "/faults", "api:status=503");
	await control("POST", "/expire/previews");
	const over = performance.now() + Number(outage) * 1000;
	while (performance.now() < over) {
		await query(url).catch(() => 0);
		await new Promise((resolve) => setTimeout(resolve, 1000));
	}
	await control("PUT", "/faults", "");
	measured.outage = await recovery(url, performance.now());
}
console.log(`measured ${JSON.stringify(measured)}`);
child.kill();
process.exit(0);
