// Prints entries of the guestbook as cards. The guestbook calls it; nobody else can.
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

// A card that was set and can be printed at any width. It stays here, its user has a reference.
class Card extends RpcTarget {
  #author;
  #words;

  constructor({ author, message }) {
    super();
    this.#author = author;
    this.#words = message.split(/\s+/);
  }

  print(width) {
    const lines = [""];
    for (const word of this.#words) {
      if (lines.at(-1) && lines.at(-1).length + 1 + word.length > width) lines.push("");
      lines.push(`${lines.pop()} ${word}`.trimStart());
    }
    return [...lines, `-- ${this.#author}`].join("\n");
  }
}

export class Press extends WorkerEntrypoint {
  card(entry) {
    return new Card(entry);
  }
}

export default {
  fetch: () => new Response("The press takes orders by rpc, at its entrypoint Press.\n"),
};
