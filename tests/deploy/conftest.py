import pytest

import deployment

# Where runbooks are played, a failed assertion tells its values too.
pytest.register_assert_rewrite("scenes", "stage")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    with deployment.Emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def artifacts():
    return deployment.build()


@pytest.fixture(scope="session")
def binary():
    return deployment.command_line()


@pytest.fixture(scope="session")
def stack(emulator, artifacts):
    stack = deployment.Stack(emulator, artifacts, "sallyport-test")
    try:
        yield stack.deploy()
    finally:
        stack.delete()


@pytest.fixture(scope="session")
def api(stack):
    return deployment.Api(stack.url)


@pytest.fixture(scope="session")
def keyring(api):
    """The published keys. The first call of a new stack fills its keyring."""
    response = api.get("/.well-known/jwks.json")
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="session")
def operator(binary, stack, keyring):
    return deployment.Operator(binary, stack)


@pytest.fixture
def user(operator):
    return deployment.User(operator)
