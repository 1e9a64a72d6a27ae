// Stands before a Worker that other Workers call: its methods become the main object of a Cap'n Web session over each
// WebSocket. Requests of fetch do not come here.
import { newWorkersWebSocketRpcResponse } from "capnweb";

export default {
  fetch(request, env) {
    return newWorkersWebSocketRpcResponse(request, env.TARGET);
  },
};
