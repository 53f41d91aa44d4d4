/** The client of openapi-generator for TypeScript (typescript-fetch): compiled strictly, then run. */
import assert from "node:assert/strict";
import {
  Configuration,
  DocumentsApi,
  ErrorCode,
  FactorsApi,
  HealthApi,
  OauthApi,
  ProblemFromJSON,
  ResponseError,
  SessionsApi,
  SignInApi,
} from "./generated/index.js";

const { BASE_URL = "", PASSWORD = "", CLIENT_ID = "", CLIENT_SECRET = "", METRICS_TOKEN = "", ISSUER = "" } = process.env;

// Nobody tells it where the deployment is: the document does.
assert.equal(new Configuration().basePath, ISSUER);
const at = (more: object = {}) => new Configuration({ basePath: BASE_URL, ...more });

const refused = async (call: Promise<unknown>) => {
  const error = await call.then(() => undefined, (error: unknown) => error);
  assert.ok(error instanceof ResponseError, String(error));
  return ProblemFromJSON(await error.response.json());
};

const signIn = new SignInApi(at());
const signedIn = await signIn.login({ loginRequest: { email: "test@example.com", password: PASSWORD } });
assert.ok(signedIn.status === "authenticated");
const wrong = await refused(signIn.login({ loginRequest: { email: "test@example.com", password: "wrong" } }));
assert.equal(wrong.code, ErrorCode.InvalidCredentials);

const refreshed = await new SessionsApi(at()).refresh({ refreshRequest: { refreshToken: signedIn.refreshToken } });
const factors = await new FactorsApi(at({ accessToken: refreshed.accessToken })).listFactors();
assert.deepEqual(factors.factors, []);

const keys = await new DocumentsApi(at()).getJwks();
assert.deepEqual(keys.keys.map((key) => key.alg), ["ES256"]);
assert.equal((await new DocumentsApi(at()).getMetadata()).issuer, ISSUER);

const service = new OauthApi(at({ username: CLIENT_ID, password: CLIENT_SECRET }));
const active = await service.introspectToken({ token: refreshed.accessToken });
assert.equal(active.active, true);
assert.equal(active.sid, signedIn.sessionId);
assert.equal((await service.introspectToken({ token: "unknown" })).active, false);

const health = new HealthApi(at({ accessToken: METRICS_TOKEN }));
assert.match(await health.getMetrics(), /sallyport_error_rate/);
assert.equal((await health.getReady()).checks["keyring"]?.status, "up");
console.log("openapi-generator, TypeScript: ok");
