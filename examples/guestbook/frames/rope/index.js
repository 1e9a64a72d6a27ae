// A customer's Worker: draws a frame of rope around whatever text it is sent.
export default {
  async fetch(request) {
    const lines = (await request.text()).split("\n");
    const width = Math.max(...lines.map((line) => line.length));
    const rope = `@${"~".repeat(width + 2)}@`;
    return new Response([rope, ...lines.map((line) => `( ${line.padEnd(width)} )`), rope].join("\n"));
  },
};
