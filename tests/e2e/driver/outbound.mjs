// Answers what the customers' Workers fetch.
export default {
	fetch: (request, env) =>
		Response.json({ asked: request.url, word: request.headers.get("x-customer"), plan: env.plan ?? null, region: env.region ?? null }),
};
