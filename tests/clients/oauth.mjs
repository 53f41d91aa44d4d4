/** What registered clients use: oauth4webapi and openid-client, which form-encode id and secret (RFC 6749 2.3.1). */
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

// Node.js 18 has it, but not under its name.
globalThis.crypto ??= webcrypto;

const { ISSUER, PASSWORD, CLIENT_ID, CLIENT_SECRET } = process.env;
const issuer = new URL(ISSUER);
const plain = { [oauth.allowInsecureRequests]: true };

const signIn = async () => {
  const answer = await fetch(`${ISSUER}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "test@example.com", password: PASSWORD }),
  });
  assert.equal(answer.status, 200);
  return answer.json();
};

for (const algorithm of ["oauth2", "oidc"]) {
  const found = await oauth.discoveryRequest(issuer, { algorithm, ...plain });
  const server = await oauth.processDiscoveryResponse(issuer, found);
  const client = { client_id: CLIENT_ID };
  const { access_token, refresh_token } = await signIn();
  for (const authentication of [oauth.ClientSecretBasic(CLIENT_SECRET), oauth.ClientSecretPost(CLIENT_SECRET)]) {
    const introspect = async (token) =>
      oauth.processIntrospectionResponse(
        server,
        client,
        await oauth.introspectionRequest(server, client, authentication, token, plain),
      );
    assert.equal((await introspect(access_token)).active, true);
    assert.equal((await introspect("unknown")).active, false);
  }
  const basic = oauth.ClientSecretBasic(CLIENT_SECRET);
  const revoked = await oauth.revocationRequest(server, client, basic, refresh_token, plain);
  await oauth.processRevocationResponse(revoked);

  // As a resource server: keys by discovery, claims after RFC 9068.
  const request = new Request("https://api.example.com/", { headers: { authorization: `Bearer ${access_token}` } });
  const claims = await oauth.validateJwtAccessToken(server, request, "sallyport", plain);
  assert.equal(claims.client_id, "first-party");
}

for (const method of [openid.ClientSecretBasic, openid.ClientSecretPost]) {
  const config = await openid.discovery(issuer, CLIENT_ID, undefined, method(CLIENT_SECRET), {
    algorithm: "oauth2",
    execute: [openid.allowInsecureRequests],
  });
  const { access_token } = await signIn();
  assert.equal((await openid.tokenIntrospection(config, access_token)).active, true);
  await openid.tokenRevocation(config, access_token);
  assert.equal((await openid.tokenIntrospection(config, access_token)).active, false);
  const stranger = await openid.discovery(issuer, CLIENT_ID, undefined, method("sps_wrong"), {
    algorithm: "oauth2",
    execute: [openid.allowInsecureRequests],
  });
  await assert.rejects(openid.tokenIntrospection(stranger, access_token), { status: 401, code: "OAUTH_WWW_AUTHENTICATE_CHALLENGE" });
}
console.log("oauth4webapi, openid-client: ok");
