// The Worker under test: the same source for every miniflare. Each request names one call; its answer is what user
// code would have seen: a result, or the error as it was thrown.
import { EmailMessage } from "cloudflare:email";

const prepare = (db, { sql, params = [] }) => {
	const statement = db.prepare(sql);
	return params.length > 0 ? statement.bind(...params) : statement;
};

/** Base64 as its bytes, and as a stream of them. */
const bytesOf = (base64) => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
const stream = (base64) => new Blob([bytesOf(base64)]).stream();
const toBase64 = (bytes) => bytes.toBase64?.() ?? btoa(String.fromCharCode(...bytes));

const calls = {
	"d1.all": (env, args) => prepare(env.DB, args).all(),
	"d1.run": (env, args) => prepare(env.DB, args).run(),
	"d1.first": (env, args) => prepare(env.DB, args).first(args.column),
	"d1.raw": (env, args) => prepare(env.DB, args).raw({ columnNames: args.columnNames ?? false }),
	"d1.batch": (env, args) => env.DB.batch(args.statements.map((statement) => prepare(env.DB, statement))),
	"d1.exec": (env, args) => env.DB.exec(args.sql),
	"d1.session": async (env, args) => {
		const session = env.DB.withSession(args.constraint);
		const bookmarks = [session.getBookmark()];
		let last;
		for (const statement of args.statements) {
			last = await prepare(session, statement).all();
			bookmarks.push(session.getBookmark());
		}
		return { bookmarks, results: last?.results };
	},

	"vec.describe": (env) => env.VEC.describe(),
	"vec.insert": (env, args) => env.VEC.insert(args.vectors),
	"vec.upsert": (env, args) => env.VEC.upsert(args.vectors),
	"vec.query": (env, args) => env.VEC.query(args.vector, args.options),
	"vec.queryById": (env, args) => env.VEC.queryById(args.id, args.options),
	"vec.getByIds": (env, args) => env.VEC.getByIds(args.ids),
	"vec.deleteByIds": (env, args) => env.VEC.deleteByIds(args.ids),

	"images.info": (env, args) => env.IMAGES.info(stream(args.image)),
	"images.output": async (env, args) => {
		let transformer = env.IMAGES.input(stream(args.image));
		for (const transform of args.transforms ?? []) transformer = transformer.transform(transform);
		for (const { image, transform, options } of args.draws ?? []) {
			const overlay = env.IMAGES.input(stream(image));
			transformer = transformer.draw(transform ? overlay.transform(transform) : overlay, options);
		}
		const result = await transformer.output(args.output);
		const bytes = new Uint8Array(await new Response(result.image()).arrayBuffer());
		return { contentType: result.contentType(), image: toBase64(bytes) };
	},
	"images.hosted.upload": (env, args) => {
		// As base64 the image is sent as it came.
		const bytes = args.options?.encoding === "base64" ? new TextEncoder().encode(args.image) : bytesOf(args.image);
		return env.IMAGES.hosted.upload(args.whole ? bytes.buffer : new Blob([bytes]).stream(), args.options);
	},
	"images.hosted.list": (env, args) => env.IMAGES.hosted.list(args.options),
	"images.hosted.createDirectUpload": (env, args) => env.IMAGES.hosted.createDirectUpload(args.options),
	"images.hosted.details": (env, args) => env.IMAGES.hosted.image(args.id).details(),
	"images.hosted.bytes": async (env, args) => {
		const bytes = await env.IMAGES.hosted.image(args.id).bytes();
		return bytes && toBase64(new Uint8Array(await new Response(bytes).arrayBuffer()));
	},
	"images.hosted.signedUrl": (env, args) => env.IMAGES.hosted.image(args.id).signedUrl(args.options),
	"images.hosted.update": (env, args) => env.IMAGES.hosted.image(args.id).update(args.options),
	"images.hosted.delete": (env, args) => env.IMAGES.hosted.image(args.id).delete(),

	"mail.raw": (env, args) => env.MAIL.send(new EmailMessage(args.from, args.to, args.raw)),
	"mail.stream": (env, args) => {
		const bytes = new TextEncoder().encode(args.raw);
		const half = bytes.length >> 1;
		const raw = new ReadableStream({
			start(controller) {
				controller.enqueue(bytes.slice(0, half));
				controller.enqueue(bytes.slice(half));
				controller.close();
			},
		});
		return env.MAIL.send(new EmailMessage(args.from, args.to, raw));
	},
	"mail.builder": (env, args) => env.MAIL.send(args.message),

	"vpc.fetch": (env, args) => fetchThrough(env.VPC, args),
	"vpc.connect": async (env, args) => {
		const socket = env.VPC.connect(args.address);
		const writer = socket.writable.getWriter();
		await writer.write(new TextEncoder().encode(args.text));
		writer.releaseLock();
		const reader = socket.readable.getReader();
		const decoder = new TextDecoder();
		let text = "";
		while (text.length < args.text.length) {
			const { value, done } = await reader.read();
			if (done) break;
			text += decoder.decode(value, { stream: true });
		}
		reader.releaseLock();
		const complete = text === args.text;
		// Closing tells the other side only; how it ends is not what this call is about.
		await socket.close().catch(() => {});
		if (!complete) throw new Error(`the connection ended after ${text.length} of ${args.text.length} bytes: ${text}`);
		return { text };
	},
	"vpc.websocket": (env, args) => converse(env.VPC, args),

	"svc.fetch": (env, args) => fetchThrough(env[args.binding ?? "SVC"], args),
	"svc.websocket": (env, args) => converse(env.SVC, args),
	"svc.call": (env, args) => env[args.binding ?? "SVC"][args.method](...args.args),
	"svc.property": async (env, args) => await env.SVC[args.name],
	// Chunks go in and come out while the request is still being sent.
	"svc.stream": async (env, args) => {
		const { readable, writable } = new TransformStream();
		const response = await env.SVC.fetch("https://callee.example/echo", { method: "POST", body: readable });
		const [writer, reader] = [writable.getWriter(), response.body.getReader()];
		const heard = [];
		for (const word of args.words) {
			writer.write(new TextEncoder().encode(word)).catch(() => {});
			heard.push(new TextDecoder().decode((await reader.read()).value));
		}
		await writer.close();
		return { heard, done: (await reader.read()).done };
	},
	"ai.run": async (env, args) => {
		const result = await env.AI.run(args.model, args.inputs, args.options);
		return { result: await drained(result), requestId: env.AI.lastRequestId, logId: env.AI.aiGatewayLogId };
	},
	"ai.code": async (env, args) => {
		const error = await env.AI.run(args.model, args.inputs).then(
			() => undefined,
			(error) => error,
		);
		return { name: error?.name, message: error?.message, code: env.AI.lastRequestInternalStatusCode, status: env.AI.lastRequestHttpStatusCode };
	},
	"ai.raw": async (env, args) => describe(await env.AI.run(args.model, args.inputs, { returnRawResponse: true })),
	"ai.media": (env, args) => {
		const body = new ReadableStream({
			start(controller) {
				controller.enqueue(new TextEncoder().encode(args.text));
				controller.close();
			},
		});
		const audio = { body, contentType: args.contentType };
		return env.AI.run(args.model, { ...args.inputs, audio });
	},
	// Reads one chunk of a stream and goes away.
	"ai.leave": async (env, args) => {
		const stream = await env.AI.run(args.model, { ...args.inputs, stream: true });
		const reader = stream.getReader();
		const { value } = await reader.read();
		await reader.cancel();
		return new TextDecoder().decode(value);
	},
	"ai.websocket": async (env, args) => {
		const response = await env.AI.run(args.model, args.inputs, { websocket: true });
		const socket = response.webSocket;
		if (!socket) return describe(response);
		const messages = [];
		const closed = ended(socket, () => messages.length === 2 && {});
		socket.addEventListener("message", ({ data }) => {
			messages.push(data);
			if (messages.length === 1) socket.send(args.text);
			else socket.close(1000, "done");
		});
		socket.accept();
		await closed;
		return { status: response.status, messages };
	},
	"ai.models": (env, args) => env.AI.models(args),
	"ai.toMarkdown": (env, args) => {
		const files = args.files.map(({ name, type, text }) => ({ name, blob: new Blob([text], { type }) }));
		return env.AI.toMarkdown(files, args.options);
	},
	"ai.supported": (env) => env.AI.toMarkdown().supported(),
	"gateway.run": async (env, args) => describe(await gateway(env, args).run(args.data, args.options)),
	"gateway.getUrl": (env, args) => gateway(env, args).getUrl(args.provider),
	"gateway.getLog": async (env, args) => {
		const log = await gateway(env, args).getLog(args.log);
		return { ...log, isDate: log.created_at instanceof Date };
	},
	"gateway.patchLog": (env, args) => gateway(env, args).patchLog(args.log, args.data),
	"ai.aiSearch": (env) => env.AI.aiSearch().list(),
	"ai.autorag": (env) => env.AI.autorag("docs").search({ query: "q" }),

	"svc.types": async (env) => {
		const value = {
			date: new Date(5), none: undefined, nothing: null, big: 12345678901234567890n, bytes: new Uint8Array([1, 2, 255]),
			list: [1, ["x"]], infinite: -Infinity, error: new RangeError("inside"),
		};
		const got = await env.SVC.echo(value);
		return {
			date: got.date instanceof Date && got.date.getTime(), none: "none" in got && got.none === undefined, nothing: got.nothing,
			big: String(got.big), bytes: [...got.bytes], list: got.list, infinite: String(got.infinite),
			error: [got.error.name, got.error.message],
		};
	},
	"svc.counter": async (env) => {
		const counter = await env.SVC.counter(5);
		const values = [await counter.increment(), await counter.increment(10), await counter.value];
		counter[Symbol.dispose]?.();
		return values;
	},
	"svc.pipeline": (env) => env.SVC.counter(40).increment(2),
	"svc.callback": (env) => env.SVC.callMe((n) => n * 2),
	"svc.words": async (env) => {
		let text = "";
		for await (const chunk of await env.SVC.words()) text += new TextDecoder().decode(chunk);
		return text;
	},
	"svc.length": (env, args) => {
		let left = args.chunks;
		return env.SVC.length(
			new ReadableStream({
				type: "bytes",
				pull(controller) {
					if (left-- > 0) controller.enqueue(new Uint8Array(args.size));
					else controller.close();
				},
			}),
		);
	},

	"art.create": (env, args) => env.ART.create(args.name, args.options),
	"art.delete": (env, args) => env.ART.delete(args.name),
	"art.list": (env, args) => env.ART.list({ limit: args.limit, cursor: args.cursor }),
	"art.info": async (env, args) => (await env.ART.get(args.name)).info(),
	"art.fork": async (env, args) => (await env.ART.get(args.name)).fork(args.target, args.options),
	"art.createToken": async (env, args) => (await env.ART.get(args.name)).createToken(args.scope, args.ttl),
	"art.listTokens": async (env, args) => {
		const { total, tokens } = await (await env.ART.get(args.name)).listTokens();
		return { total, states: tokens.map(({ state }) => state) };
	},
	"art.revokeToken": async (env, args) => (await env.ART.get(args.name)).revokeToken(args.token),
	"art.log": async (env, args) =>
		(await env.ART.get(args.name)).log(args.options ?? (args.ref === undefined ? undefined : { ref: args.ref })),
	"art.readCommit": async (env, args) => (await env.ART.get(args.name)).readCommit(args.hash),
	"art.readTree": async (env, args) => (await env.ART.get(args.name)).readTree(args.hash),
	"art.readFile": async (env, args) => {
		const file = await (await env.ART.get(args.name)).readFile({ ref: args.ref, path: args.path });
		return file && { type: file.type, text: await file.text() };
	},
	"art.readBlob": async (env, args) => {
		const blob = await (await env.ART.get(args.name)).readBlob(args.hash);
		return blob && { type: blob.type, text: await blob.text() };
	},
	"art.import": (env, args) => env.ART.import(args),

	"dispatch.fetch": (env, args) => fetchThrough(env.CUSTOMERS.get(args.name, args.args, args.options), args),
	"dispatch.call": (env, args) => env.CUSTOMERS.get(args.name)[args.method](...args.args),
};

/** The gateway by HTTP, or by RPC with `beta`. */
const gateway = (env, { id, beta }) => env.AI.gateway(id, beta === undefined ? undefined : { beta });

/** A stream as text, anything else as it is. */
async function drained(result) {
	return result instanceof ReadableStream ? { stream: await new Response(result).text() } : result;
}

async function fetchThrough(binding, args) {
	const init = { method: args.method ?? "GET", headers: args.headers ?? {}, redirect: "manual" };
	if (args.body !== undefined) init.body = args.body;
	return describe(await binding.fetch(args.url, init));
}

/**
 * How a socket ended. After a close of our own, which `closing` gives, workerd now and then reports that the connection was
 * lost although the answer to the close came before its end (seen on the wire, miniflare 4): that counts as the answer.
 */
function ended(socket, closing) {
	return new Promise((resolve, reject) => {
		socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason }));
		socket.addEventListener("error", ({ message }) => {
			const close = /Network connection lost/.test(message) && closing();
			if (close) resolve(close);
			else reject(new Error(`websocket: ${message}`));
		});
	});
}

async function converse(binding, args) {
	const headers = { Upgrade: "websocket" };
	if (args.protocol !== undefined) headers["Sec-WebSocket-Protocol"] = args.protocol;
	const response = await binding.fetch(args.url, { headers });
	const socket = response.webSocket;
	if (!socket) return describe(response);
	const messages = [];
	const [code, reason] = [args.code ?? 4001, args.reason ?? "enough"];
	const closed = ended(socket, () => messages.length === args.messages.length && { code, reason });
	socket.addEventListener("message", ({ data }) => {
		messages.push(typeof data === "string" ? data : { bytes: [...new Uint8Array(data)] });
		if (messages.length === args.messages.length) socket.close(code, reason);
	});
	socket.binaryType = "arraybuffer";
	socket.accept();
	for (const message of args.messages) {
		socket.send(typeof message === "string" ? message : new Uint8Array(message.bytes));
	}
	const close = await closed;
	return { status: response.status, protocol: response.headers.get("sec-websocket-protocol"), messages, close };
}

async function describe(response) {
	return {
		status: response.status,
		statusText: response.statusText,
		headers: Object.fromEntries(response.headers),
		body: await response.text(),
	};
}

function explain(error) {
	if (!(error instanceof Error)) return { name: typeof error, message: String(error) };
	return { name: error.name, message: error.message, code: error.code, cause: error.cause && String(error.cause.message ?? error.cause) };
}

export default {
	async fetch(request, env) {
		const { call, args = {} } = await request.json();
		try {
			if (!Object.hasOwn(calls, call)) throw new Error(`the test Worker has no call ${call}`);
			const result = await calls[call](env, args);
			return Response.json({ call, ok: true, result: result ?? null });
		} catch (error) {
			return Response.json({ call, ok: false, error: explain(error) });
		}
	},
};
