// What `cloudflare:email` exports as EmailMessage. A plain object is what survives the call to the shim, and
// `EmailMessage::raw` is the member by which the far end tells a raw message from the builder form.
class EmailMessage {
  constructor(from, to, raw) {
    for (const [name, value] of [["from", from], ["to", to]]) {
      if (typeof value !== "string" || value === "") {
        throw new TypeError(`EmailMessage: \`${name}\` must be an address`);
      }
    }
    if (typeof raw !== "string" && !(raw instanceof ReadableStream)) {
      throw new TypeError("EmailMessage: `raw` must be a string or a ReadableStream");
    }
    return { from, to, "EmailMessage::raw": raw };
  }
}

export default { EmailMessage };
