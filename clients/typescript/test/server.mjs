// Servers in this process that the tests script.
import { createServer } from "node:http";
import { once } from "node:events";
import { WebSocketServer } from "ws";

/** An HTTP server whose answers `answer(request, body)` gives: `{status?, headers?, body?}`. */
export async function httpServer(t, answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    requests.push({ method: request.method, url: request.url, headers: request.headers, text });
    const { status = 200, headers = {}, body = "{}" } = await answer(request, text, requests.length);
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

/** A socket server; `next()` gives each connection: its received messages in turn, and what sends and closes it. */
export async function socketServer(t) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const connections = queue();
  server.on("connection", (socket) => {
    const messages = queue();
    socket.on("message", (data) => messages.put(JSON.parse(String(data))));
    const send = (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message));
    connections.put({ received: messages.get, send, socket });
  });
  t.after(() => {
    server.clients.forEach((socket) => socket.terminate());
    server.close();
  });
  return { url: `ws://127.0.0.1:${server.address().port}`, next: connections.get };
}

/** Values in turn, waited for. */
export function queue() {
  const values = [];
  const waiting = [];
  return {
    put: (value) => (waiting.length > 0 ? waiting.shift()(value) : values.push(value)),
    get: () => (values.length > 0 ? Promise.resolve(values.shift()) : new Promise((take) => waiting.push(take))),
    get size() {
      return values.length;
    },
  };
}
