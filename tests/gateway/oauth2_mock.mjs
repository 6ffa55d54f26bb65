// The `oauth2-mock-server` of npm: signs in whoever asks, with these claims.
// node oauth2_mock.mjs PORT CLAIMS
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const found = createRequire(`${process.cwd()}/`).resolve("oauth2-mock-server");
const { OAuth2Server } = await import(pathToFileURL(found));
const [port, claims] = process.argv.slice(2);
const server = new OAuth2Server();
await server.issuer.keys.generate("RS256");
server.service.on("beforeTokenSigning", (token) => Object.assign(token.payload, JSON.parse(claims)));
await server.start(Number(port), "localhost");
