"""The client of openapi-python-client."""

import os

from sallyport_client import AuthenticatedClient, Client
from sallyport_client.api.documents import get_jwks, get_metadata
from sallyport_client.api.factors import list_factors
from sallyport_client.api.health import get_metrics, get_ready, get_status
from sallyport_client.api.oauth import introspect_token
from sallyport_client.api.sessions import refresh
from sallyport_client.api.sign_in import login
from sallyport_client.models import (
    ErrorCode,
    Introspection,
    LoginRequest,
    OAuthError,
    Problem,
    RefreshRequest,
    TokenRequest,
    Tokens,
)

BASE = os.environ["BASE_URL"]
# A documented answer that it left out would be an exception.
client = Client(BASE, raise_on_unexpected_status=True)


def bearer(token):
    return AuthenticatedClient(BASE, token=token, raise_on_unexpected_status=True)


signed_in = login.sync(client=client, body=LoginRequest(email="test@example.com", password=os.environ["PASSWORD"]))
assert isinstance(signed_in, Tokens), signed_in
error = login.sync(client=client, body=LoginRequest(email="test@example.com", password="wrong"))
assert isinstance(error, Problem) and error.code is ErrorCode.INVALID_CREDENTIALS, error
error = login.sync(client=client, body=LoginRequest(email="nobody", password="x"))
assert error.code is ErrorCode.VALIDATION_FAILED and error.errors[0].field == "email", error

refreshed = refresh.sync(client=client, body=RefreshRequest(refresh_token=signed_in.refresh_token))
assert isinstance(refreshed, Tokens), refreshed
error = refresh.sync(client=client, body=RefreshRequest(refresh_token="spr_AAAA"))
assert error.code is ErrorCode.INVALID_REFRESH_TOKEN, error

assert [key.alg for key in get_jwks.sync(client=client).keys] == ["ES256"]
assert get_metadata.sync(client=client).issuer == os.environ["ISSUER"]

service = {"client_id": os.environ["CLIENT_ID"], "client_secret": os.environ["CLIENT_SECRET"]}
active = introspect_token.sync(client=client, body=TokenRequest(token=refreshed.access_token, **service))
assert isinstance(active, Introspection) and active.active and active.sid == signed_in.session_id, active
assert introspect_token.sync(client=client, body=TokenRequest(token="unknown", **service)).active is False
error = introspect_token.sync(client=client, body=TokenRequest(token="x"))
assert isinstance(error, OAuthError) and error.error == "invalid_client", error

assert list_factors.sync(client=bearer(refreshed.access_token)).factors == []
assert list_factors.sync(client=bearer("a.b.c")).code is ErrorCode.INVALID_TOKEN

assert "sallyport_error_rate" in get_metrics.sync(client=bearer(os.environ["METRICS_TOKEN"]))
assert get_metrics.sync(client=bearer("wrong")).code is ErrorCode.INVALID_TOKEN
assert get_ready.sync(client=client).checks["keyring"].status == "up"
assert get_status.sync(client=client).status
print("openapi-python-client: ok")
