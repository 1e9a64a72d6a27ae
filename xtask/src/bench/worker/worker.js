// The Worker under measurement, the same for all: POST {load, count} runs a load that many times, one after another.
import { WorkerEntrypoint } from "cloudflare:workers";

export class Callee extends WorkerEntrypoint {
	add(a, b) {
		return a + b;
	}
	fetch(request) {
		return new Response(request.body ?? "ok");
	}
}

const INSERT = "INSERT INTO t (name, n) VALUES (?, ?)";
const SELECT = "SELECT id, name, n FROM t WHERE id = ?";
const hundred = Array.from({ length: 100 }, (_, index) => index + 1);

const loads = {
	prepare: async (env) => {
		await env.DB.exec("DROP TABLE IF EXISTS t");
		await env.DB.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, n INTEGER NOT NULL)");
		const insert = env.DB.prepare(INSERT);
		for (let turn = 0; turn < 10; turn++) await env.DB.batch(hundred.map((n) => insert.bind(`name ${n}`, n)));
	},
	point: async (env, turn) => {
		const row = await env.DB.prepare(SELECT).bind((turn % 1000) + 1).first();
		if (row.id !== (turn % 1000) + 1) throw new Error(`asked for ${turn}, got ${JSON.stringify(row)}`);
	},
	insert: async (env, turn) => {
		const { meta } = await env.DB.prepare(INSERT).bind("one more", turn).run();
		if (meta.changes !== 1) throw new Error("nothing was inserted");
	},
	"batch of inserts": async (env) => {
		const insert = env.DB.prepare(INSERT);
		const answers = await env.DB.batch(hundred.map((n) => insert.bind("many more", n)));
		if (answers.length !== 100) throw new Error("a batch was cut short");
	},
	"batch of queries": async (env) => {
		const select = env.DB.prepare(SELECT);
		const answers = await env.DB.batch(hundred.map((n) => select.bind(n)));
		if (answers[99].results[0].id !== 100) throw new Error("a batch was mixed up");
	},
	rpc: async (env, turn) => {
		if ((await env.SVC.add(turn, 1)) !== turn + 1) throw new Error("wrong sum");
	},
	fetch: async (env) => {
		const response = await env.SVC.fetch("https://callee.example/");
		if ((await response.text()) !== "ok") throw new Error("wrong answer");
	},
};

export default {
	async fetch(request, env) {
		const { load, count } = await request.json();
		for (let turn = 0; turn < count; turn++) await loads[load](env, turn);
		return new Response("done");
	},
};
