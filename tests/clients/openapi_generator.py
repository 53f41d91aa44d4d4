"""The client of openapi-generator for Python, as somebody would use it who has read nothing but its README."""

import os

import openapi_client
from openapi_client import Configuration, LoginRequest
from openapi_client.exceptions import ApiException

BASE = os.environ["BASE_URL"]

# Nobody tells it where the deployment is: the document does.
host = Configuration().host
assert host == os.environ["ISSUER"], host


def client(**settings):
    return openapi_client.ApiClient(Configuration(host=BASE, **settings))


def refused(call):
    try:
        call()
    except ApiException as error:
        return error
    raise AssertionError("it was not refused")


sign_in = openapi_client.SignInApi(client())
signed_in = sign_in.login(LoginRequest(email="test@example.com", password=os.environ["PASSWORD"])).actual_instance
assert isinstance(signed_in, openapi_client.Tokens), signed_in

error = refused(lambda: sign_in.login(LoginRequest(email="test@example.com", password="wrong")))
assert (error.status, error.data.code) == (401, openapi_client.ErrorCode.INVALID_CREDENTIALS), error

sessions = openapi_client.SessionsApi(client())
refreshed = sessions.refresh(refresh_request=openapi_client.RefreshRequest(refresh_token=signed_in.refresh_token))
error = refused(lambda: sessions.refresh(refresh_request=openapi_client.RefreshRequest(refresh_token="spr_AAAA")))
assert error.data.code == "invalid_refresh_token", error

keys = openapi_client.DocumentsApi(client()).get_jwks()
assert [key.alg for key in keys.keys] == ["ES256"], keys
metadata = openapi_client.DocumentsApi(client()).get_metadata()
assert metadata.jwks_uri == f"{metadata.issuer}/.well-known/jwks.json", metadata
openapi_client.DocumentsApi(client()).get_open_api()

service = openapi_client.OauthApi(client(username=os.environ["CLIENT_ID"], password=os.environ["CLIENT_SECRET"]))
active = service.introspect_token(token=refreshed.access_token)
assert (active.active, active.sid) == (True, signed_in.session_id), active
assert service.introspect_token(token="unknown").active is False
error = refused(lambda: openapi_client.OauthApi(client(username="unknown", password="x")).introspect_token(token="x"))
assert error.data.error == "invalid_client", error

factors = openapi_client.FactorsApi(client(access_token=refreshed.access_token)).list_factors()
assert factors.factors == [], factors
error = refused(lambda: openapi_client.FactorsApi(client(access_token="a.b.c")).list_factors())
assert error.data.code == "invalid_token", error

health = openapi_client.HealthApi(client(access_token=os.environ["METRICS_TOKEN"]))
figures = health.get_metrics()
assert "sallyport_error_rate" in figures, figures
assert health.get_ready().checks["keyring"].status == "up"
assert health.get_status().status
print("openapi-generator, Python: ok")
