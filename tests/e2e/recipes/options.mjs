// Prints what `remote.bindings()` makes of a configuration, and what wrangler itself makes of it.
import { connect } from "bowline";
import { unstable_getMiniflareWorkerOptions } from "wrangler";

const remote = await connect({ remote: process.env.BOWLINE_REMOTE });
const { workerOptions } = unstable_getMiniflareWorkerOptions(process.argv[2], undefined, {
	remoteProxyConnectionString: remote.url,
});
console.log(JSON.stringify({ url: remote.url, ours: await remote.bindings(process.argv[2]), wranglers: workerOptions }));
await remote.close();
