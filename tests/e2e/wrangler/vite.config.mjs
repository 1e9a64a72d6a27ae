// The test Worker under Vite.
import { cloudflare } from "@cloudflare/vite-plugin";

export default {
	plugins: [cloudflare({ configPath: "wrangler.jsonc", persistState: false, inspectorPort: false })],
	server: { host: "127.0.0.1", port: 8787, strictPort: true },
	clearScreen: false,
};
