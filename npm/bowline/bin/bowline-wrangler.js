#!/usr/bin/env node
// `bowline-wrangler [--remote URL] COMMAND …` is `wrangler COMMAND …` with the remote bindings of its configuration at a
// remote of one's own.
import { spawn } from "node:child_process";
import { delimiter, resolve } from "node:path";
import { parseArgs } from "node:util";

import { BowlineError, connect } from "../src/index.js";

const USAGE = `bowline-wrangler [--remote URL] COMMAND [ARGUMENTS]

Runs \`wrangler COMMAND\` with the remote bindings of its configuration at a remote of your own, through \`bowline connect\`.
The remote is --remote, or BOWLINE_REMOTE. Credentials of Access are handed to Bowline and not to wrangler.`;

/** What wrangler does not need: the line has them. */
const SECRETS = ["CLOUDFLARE_ACCESS_CLIENT_ID", "CLOUDFLARE_ACCESS_CLIENT_SECRET"];

/**
 * Takes our option from in front of wrangler's command, and `--config` from anywhere.
 *
 * @param {string[]} given
 */
function read(given) {
	const { tokens } = parseArgs({
		args: given,
		options: { remote: { type: "string" }, config: { type: "string", short: "c" } },
		strict: false,
		tokens: true,
	});
	const command = tokens.find(({ kind }) => kind === "positional")?.index ?? given.length;
	let [remote, config] = [process.env.BOWLINE_REMOTE, "."];
	const taken = new Set();
	for (const token of tokens) {
		if (token.kind !== "option" || token.value === undefined) continue;
		if (token.name === "remote" && token.index < command) remote = token.value;
		else if (token.name === "config") config = token.value;
		else continue;
		taken.add(token.index);
		if (!token.inlineValue) taken.add(token.index + 1);
	}
	return { remote, config, args: given.filter((_, index) => !taken.has(index)) };
}

async function main() {
	const { remote, config, args } = read(process.argv.slice(2));
	if (args.length === 0 || ["-h", "--help"].includes(args[0])) {
		console.log(USAGE);
		return args.length === 0 ? 2 : 0;
	}
	if (!remote) throw new BowlineError("no remote: give --remote URL, or set BOWLINE_REMOTE");
	const line = await connect({ remote });
	try {
		const file = await line.wranglerConfig(config);
		const env = { ...process.env };
		for (const name of SECRETS) delete env[name];
		env.PATH = [resolve("node_modules/.bin"), env.PATH].join(delimiter);
		return await run("wrangler", [...args, "--config", file], env);
	} finally {
		await line.close();
	}
}

/**
 * Runs a program in the foreground; signals reach it, and its end is ours.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>}
 */
function run(program, args, env) {
	return new Promise((ended, failed) => {
		const child = spawn(program, args, { stdio: "inherit", env });
		child.once("error", (error) => failed(new BowlineError(`${program} could not be started: ${error.message}`)));
		// A terminal sends SIGINT to the child as well, so that one is only survived.
		process.on("SIGINT", () => {});
		for (const signal of /** @type {const} */ (["SIGTERM", "SIGHUP"])) process.on(signal, () => child.kill(signal));
		child.once("close", (code, signal) => ended(code ?? 128 + (signal === "SIGINT" ? 2 : 15)));
	});
}

try {
	process.exitCode = await main();
} catch (error) {
	if (!(error instanceof BowlineError)) throw error;
	console.error(error.message.startsWith("error:") ? error.message : `error: ${error.message}`);
	process.exitCode = error.exitCode ?? 2;
}
