// connect() with the options in its argument: prints how it failed, or the URL, and then what its standard input says to do.
import { connect } from "bowline";

const options = JSON.parse(process.argv[2]);
try {
	const remote = await connect(options);
	console.log(JSON.stringify({ ready: true, url: remote.url }));
	if (options.then === "close") await remote.close();
	if (options.then === "wait") process.stdin.resume();
} catch ({ name, message, exitCode }) {
	console.log(JSON.stringify({ ready: true, url: "", error: { name, message, exitCode } }));
}
