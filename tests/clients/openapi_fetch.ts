/** The types of openapi-typescript with openapi-fetch: compiled strictly, then run. */
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const { BASE_URL = "", PASSWORD = "", CLIENT_ID = "", CLIENT_SECRET = "", METRICS_TOKEN = "", ISSUER = "" } = process.env;
const client = createClient<paths>({ baseUrl: BASE_URL });

// What may be left out may be left out.
const request: components["schemas"]["LoginRequest"] = { email: "test@example.com", password: PASSWORD };
const signedIn = await client.POST("/api/v1/auth/login", { body: request });
assert.ok(signedIn.data?.status === "authenticated");
const { refresh_token, session_id } = signedIn.data;
assert.ok(refresh_token);

const refused = await client.POST("/api/v1/auth/login", { body: { ...request, password: "wrong" } });
const code: components["schemas"]["ErrorCode"] | undefined = refused.error?.code;
assert.equal(code, "invalid_credentials");

const refreshed = await client.POST("/api/v1/auth/refresh", { body: { refresh_token } });
assert.ok(refreshed.data);
const authorization = `Bearer ${refreshed.data.access_token}`;
const factors = await client.GET("/api/v1/mfa/factors", { headers: { authorization } });
assert.deepEqual(factors.data?.factors, []);

const keys = await client.GET("/.well-known/jwks.json");
assert.deepEqual(keys.data?.keys.map((key) => key.alg), ["ES256"]);
const metadata = await client.GET("/.well-known/oauth-authorization-server");
assert.equal(metadata.data?.issuer, ISSUER);

const form = { token: refreshed.data.access_token, client_id: CLIENT_ID, client_secret: CLIENT_SECRET };
const bodySerializer = (body: Record<string, string>) => new URLSearchParams(body);
const headers = { "content-type": "application/x-www-form-urlencoded" };
const active = await client.POST("/oauth/introspect", { body: form, bodySerializer, headers });
assert.equal(active.data?.active, true);
assert.equal(active.data?.sid, session_id);
const unknown = await client.POST("/oauth/introspect", { body: { token: "x" }, bodySerializer, headers });
assert.equal(unknown.error && "error" in unknown.error && unknown.error.error, "invalid_client");

const scrape = { authorization: `Bearer ${METRICS_TOKEN}` };
const metrics = await client.GET("/metrics", { headers: scrape, parseAs: "text" });
assert.match(metrics.data ?? "", /sallyport_error_rate/);
const gone = await client.POST("/api/v1/auth/logout", { body: { refresh_token: refreshed.data.refresh_token ?? "" } });
assert.equal(gone.response.status, 204);
console.log("openapi-typescript with openapi-fetch: ok");
