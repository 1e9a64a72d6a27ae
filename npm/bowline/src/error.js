/** What went wrong, whose fault it is, and what to do next, in words for a terminal. */
export class BowlineError extends Error {
	/**
	 * @param {string} message
	 * @param {number} [exitCode] the program's exit code, when it was the program that failed
	 */
	constructor(message, exitCode) {
		super(message);
		this.name = "BowlineError";
		this.exitCode = exitCode;
	}
}
