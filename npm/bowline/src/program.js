/** Finding and running the `bowline` program. */
import { execFile, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

import { BowlineError } from "./error.js";

/** How much a configuration may print. */
const LARGEST = 16 * 1024 * 1024;

/**
 * The program: an explicit path, `BOWLINE_BIN`, or the first `bowline` in `PATH`.
 *
 * @param {string | undefined} explicit
 * @param {NodeJS.ProcessEnv} env
 * @returns {string}
 */
export function find(explicit, env) {
	for (const [path, from] of [
		[explicit, "the option `bin`"],
		[env.BOWLINE_BIN, "BOWLINE_BIN"],
	]) {
		if (!path) continue;
		const program = resolve(path);
		if (runs(program)) return program;
		throw new BowlineError(`${from} names ${program}, which is no program that can be run`);
	}
	const found = (env.PATH ?? "")
		.split(delimiter)
		.filter(Boolean)
		.map((folder) => join(folder, "bowline"))
		.find(runs);
	if (found) return found;
	throw new BowlineError(
		"the program `bowline` was not found: put it in PATH, set BOWLINE_BIN, or give its path as the option `bin`",
	);
}

/** @param {string} path */
function runs(path) {
	try {
		accessSync(path, constants.X_OK);
		return statSync(path).isFile();
	} catch {
		return false;
	}
}

/**
 * Runs the program to its end and reads the document it prints.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ env: NodeJS.ProcessEnv, timeoutMs: number }} options
 * @returns {Promise<any>}
 */
export function document(program, args, { env, timeoutMs }) {
	return new Promise((done, failed) => {
		execFile(program, args, { env, timeout: timeoutMs, maxBuffer: LARGEST }, (error, stdout, stderr) => {
			if (error) {
				const said = stderr.trim() || `${program} ${args.join(" ")}: ${error.message}`;
				failed(new BowlineError(said, typeof error.code === "number" ? error.code : undefined));
				return;
			}
			try {
				done(JSON.parse(stdout));
			} catch {
				failed(new BowlineError(`${program} ${args[0]} printed no JSON document`));
			}
		});
	});
}

/**
 * Starts the program and waits for its line `{"ready":true,…}`. It ends when its standard input does, so also with a
 * parent that was killed; and it does not keep the parent from ending.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ env: NodeJS.ProcessEnv, timeoutMs: number, log: (line: string) => void }} options
 * @returns {Promise<{ ready: any, child: import("node:child_process").ChildProcess, ended: Promise<void> }>}
 */
export function start(program, args, { env, timeoutMs, log }) {
	return new Promise((done, failed) => {
		// In a group of its own: an interrupt at the terminal is for the tool, which may still need the line to end well.
		const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"], detached: true });
		const ended = new Promise((resolve) => child.once("close", () => resolve(undefined)));
		/** @type {string[]} */
		const said = [];
		let waiting = true;
		const fail = (/** @type {string} */ message, /** @type {number} */ code) => {
			if (!waiting) return;
			waiting = false;
			clearTimeout(timer);
			child.kill();
			failed(new BowlineError(message, code));
		};
		const timer = setTimeout(
			() => fail(`${program} was not ready within ${timeoutMs} ms${said.map((line) => `\n${line}`).join("")}`),
			timeoutMs,
		);
		child.once("error", (error) => fail(`${program} could not be started: ${error.message}`));
		child.once("close", (code, signal) =>
			fail(said.join("\n") || `${program} ended (${signal ?? `exit code ${code}`}) before it was ready`, code ?? undefined),
		);
		// A program that is gone takes no input; its end is told by `close`.
		child.stdin.on("error", () => {});
		lines(child.stderr, (line) => {
			if (waiting) said.push(line);
			else log(line);
		});
		lines(child.stdout, (line) => {
			if (!waiting) return;
			let ready;
			try {
				ready = JSON.parse(line);
			} catch {
				fail(`${program} said \`${line.slice(0, 200)}\` where its ready line was expected`);
				return;
			}
			waiting = false;
			clearTimeout(timer);
			for (const line of said) log(line);
			for (const handle of [child, child.stdin, child.stdout, child.stderr]) /** @type {any} */ (handle).unref?.();
			done({ ready, child, ended });
		});
	});
}

/**
 * @param {import("node:stream").Readable} stream
 * @param {(line: string) => void} each
 */
function lines(stream, each) {
	let rest = "";
	stream.setEncoding("utf8");
	stream.on("data", (chunk) => {
		const parts = (rest + chunk).split("\n");
		rest = parts.pop() ?? "";
		for (const line of parts) each(line);
	});
	stream.on("end", () => rest && each(rest));
}
