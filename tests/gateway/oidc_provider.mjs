// The certified `oidc-provider` of npm: a login page, a page that asks for consent, the code flow.
// node oidc_provider.mjs PORT CLIENT SECRET REDIRECT_URI CLAIMS
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const found = createRequire(`${process.cwd()}/`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(found));
const [port, client, secret, redirect, claims] = process.argv.slice(2);
const provider = new Provider(`http://localhost:${port}`, {
  clients: [{ client_id: client, client_secret: secret, redirect_uris: [redirect] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false, // the e-mail in the token itself, as Google has it
  cookies: { keys: ["for-tests"] },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, ...JSON.parse(claims) }) }),
});
provider.listen(Number(port), "localhost");
