/** What {@link connect} takes. */
export interface ConnectOptions {
	/** The remote: where `bowline serve` is, or a Worker that `bowline deploy` made. */
	remote: string | URL;
	/** The folder of the project: its `bowline.jsonc`, `.env` and `.dev.vars` may hold credentials, and configurations are looked for in it. Default: the working directory. */
	project?: string;
	/** The `bowline` program. Default: `BOWLINE_BIN`, then the first `bowline` in `PATH`. */
	bin?: string;
	/** The environment of the program, where it looks for credentials. Default: this process's. */
	env?: NodeJS.ProcessEnv;
	/** How long the program may take to be ready, or to read a configuration, in milliseconds. Default: 10 000. */
	timeoutMs?: number;
	/** Takes what the program has to say, such as why Access refused a call. Default: standard error. */
	log?: (line: string) => void;
}

/** An open line to a remote. */
export interface Remote {
	/** The connection string: the `remoteProxyConnectionString` of anything built on miniflare. A capability, so keep it to this machine. */
	readonly url: URL;
	/**
	 * The options of miniflare (those of miniflare 4, which Vitest's pool takes as well) for the remote bindings of a
	 * wrangler configuration, each with the connection string.
	 *
	 * @param path a configuration, or the folder of one. Default: the project.
	 * @param environment the environment whose bindings are taken.
	 */
	bindings(path?: string, environment?: string): Promise<Record<string, any>>;
	/** For the option `config` of `@cloudflare/vite-plugin`: changes the configuration so that remote bindings go through this line. */
	config(config: Record<string, any>): void;
	/**
	 * Writes a copy of a wrangler configuration whose remote bindings go through this line, beside it, and gives its path:
	 * for `wrangler dev --config`, `getPlatformProxy({ configPath })` and `unstable_startWorker({ config })`. The copy is
	 * removed by {@link close}.
	 *
	 * @param path a configuration, or the folder of one. Default: the project.
	 */
	wranglerConfig(path?: string): Promise<string>;
	/** Ends the line. Without it, it ends with this process. */
	close(): Promise<void>;
}

/** What went wrong, in words for a terminal. */
export class BowlineError extends Error {
	/** The exit code of the `bowline` program, when it was the program that failed. */
	readonly exitCode?: number;
}

/**
 * Starts `bowline connect` and waits until it listens.
 *
 * @throws {BowlineError} when the program is not found, or ends before it is ready; the message is what it said.
 */
export function connect(options: ConnectOptions): Promise<Remote>;
