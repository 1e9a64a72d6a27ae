// The guestbook's seal: made small for a card, and kept for the page. The pixels are worked on where the binding is.
const SEAL =
  "iVBORw0KGgoAAAANSUhEUgAAABgAAAAQCAIAAACDRijCAAACuElEQVR42hXSEbeGQACE4eUkiZeTJH45SeLlJImXk2R4OVmJl5Mk" +
  "Xk5W+h33u/MDnjNnzhhjqAyNwRpao94Io8FoMjjDbFgN3mgzklEwOgynIRkuw2OUjV6jz8iYmqqmqbE1ba2+FrWGWlONq5lr1hpf" +
  "a6ulWqHWUXPWpJqr5qmVa721vvoHWSpLY7GW1qq3wmqwmizOMltWi7farGQVrA7LaUmWy/JYZavX6rM/qKPqaDpsR9up70SnodPU" +
  "4TrmjrXDd9o6qVPodHScHanj6ng65U5vp6/7QahCDbKohZ7/DDAhh2a0Ig8bCAIc6EQJXeiBDC98YMyoalQzyo5qR/oRRoaRaZQb" +
  "NY9aR/mRbUQjYeQYdY5Ko65Rz0geeUe+8Qc5VU6Nk3VqHb0Dx+CYnJzT7LQ6ecfm/hsGx+F0OiWny+lxZMfr+NwPWlQtahbZRe1C" +
  "v8DCsDAtcovmResiv7AtaCEsHIvORWnRtehZyAvvwrf8IE/laTzW03r1XngNXpPHeWbP6vFem5e8gtfhOT3Jc3ker+z1en3+N/ZO" +
  "tdPs2J12V7+LXcOuacftzDvrjt+17dKusOvYOXfSzrXz7Mq73l3f/oMCVaAJ2EAb1AcRNARNAReYA2vAB21BCgpBR+AMpMAVeIJy" +
  "0Bv0hR8UqSJNxEbaqD6KqCFqirjIHFkjPmqLUlSIOiJnJEWuyBOVo96oL/6gpCqpSbJJbaJPkBgSU5JLmpPWJJ/Y0v95QuJIOpNS" +
  "0pX0JHLiTXzpN/at6lZzy95qb/obboab6Za7Nd9ab/mb7UY34ea4dd5Kt65bz02+eW+++wdlVVlNls1qM33+f+uQmbJc1py1ZvnM" +
  "llEmZI6sMytlXVlPJmfezJd/UFFV1BTZorbQFygMhanIFc1Fa5EvbAUVQuEoOotS0VX0FHLhLXyFPzrg61CvWn+GAAAAAElFTkSu" +
  "QmCC";

const seal = () => new Blob([Uint8Array.from(atob(SEAL), (byte) => byte.charCodeAt(0))]).stream();

/** The seal in another size and format: what it was, and what it became. */
export async function sizeSeal(images, width) {
  const from = await images.info(seal());
  const made = await images.input(seal()).transform({ width }).output({ format: "image/webp", quality: 80 });
  const bytes = await new Response(made.image()).arrayBuffer();
  const to = await images.info(new Blob([bytes]).stream());
  return { from, to };
}

/** Keeps the seal where browsers can see it, and reads it back. */
export async function keepSeal(images) {
  const kept = await images.hosted.upload(seal(), { filename: "seal.png", metadata: { of: "guestbook" } });
  const bytes = await images.hosted.image(kept.id).bytes();
  return { ...(await images.info(bytes)), ...kept };
}
