// What stands behind a dispatch namespace. `get()` answers at once, and what it was given travels with every call.
export default function (env) {
  const { fetcher } = env;
  return {
    get(name, args, options) {
      // ASCII only, for it becomes a header's value.
      const target = JSON.stringify({ name, args, options }).replace(
        /[\u007f-\uffff]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
      const fetch = (input, init) => {
        const request = new Request(input, init);
        request.headers.set("bowline-dispatch", target);
        return fetcher.fetch(request);
      };
      return new Proxy({}, {
        get(_, key) {
          // `then` is asked for by whoever awaits the result of get().
          if (typeof key === "symbol" || key === "then") return undefined;
          if (key === "fetch") return fetch;
          const call = (...params) => fetcher["bowline:call"](target, key, params);
          call.then = (resolve, reject) => fetcher["bowline:read"](target, key).then(resolve, reject);
          return call;
        },
      });
    },
  };
}
