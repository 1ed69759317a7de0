// An authorization server (oidc-provider), and beside it the endpoint /hook, which takes its tokens.
//
// PORT says where, LIFETIME how many seconds a token lasts. Writes a line of JSON for each request:
// {"path", "status"}, of /hook also the token and the id of the webhook.
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const library = join(process.env.NODE_PATH, "oidc-provider", "lib", "index.js");
const { default: Provider } = await import(pathToFileURL(library));

const client = (id, method) => ({
  client_id: id,
  client_secret: "s3cret: 100%",
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
  scope: "hooks",
  token_endpoint_auth_method: method,
});

const provider = new Provider(`http://127.0.0.1:${process.env.PORT}`, {
  clients: [client("by-header", "client_secret_basic"), client("by-body", "client_secret_post")],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  scopes: ["hooks", "others"],
  ttl: { ClientCredentials: Number(process.env.LIFETIME) },
});

const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function hook(request, response) {
  request.resume();
  const [, token] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
  const found = token && (await provider.ClientCredentials.find(token));
  const status = found?.isValid && found.scope === "hooks" ? 200 : 401;
  const headers = status === 401 ? { "www-authenticate": 'Bearer error="invalid_token"' } : {};
  response.writeHead(status, headers).end("ok");
  write({ path: "/hook", status, token, id: request.headers["webhook-id"] });
}

const callback = provider.callback();
const server = createServer((request, response) => {
  if (request.url === "/hook") {
    return hook(request, response).catch((error) => response.writeHead(500).end(String(error)));
  }
  response.on("finish", () => write({ path: request.url, status: response.statusCode }));
  return callback(request, response);
});
server.listen(Number(process.env.PORT), "127.0.0.1");
