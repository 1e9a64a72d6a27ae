// Entries on cards: the press is a Worker of ours that is called, the frame a Worker of some customer that is fetched from.
import { within } from "./within.js";

// One round trip: the card is asked for its text where it is.
export async function printCard(press, entry) {
  return { card: await within("print", press.card(entry).print(24)) };
}

export async function frameCard(frames, name, text) {
  const frame = frames.get(name, {}, { limits: { cpuMs: 50, subRequests: 5 } });
  const response = await within("fetch", frame.fetch("https://frames.example/", { method: "POST", body: text }));
  const body = await within("read", response.text());
  if (!response.ok) throw new Error(body || `the frame ${name} answered ${response.status}`);
  return { frame: name, card: body };
}
