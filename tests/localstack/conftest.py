import pytest

from emulated import LocalStack, nested


@pytest.fixture(scope="session")
def localstack(tmp_path_factory):
    with LocalStack(tmp_path_factory.mktemp("localstack")) as localstack:
        yield localstack


@pytest.fixture(scope="session")
def topics(localstack):
    return localstack.deploy("topics", nested("infra/topics.yaml"), Deployment="told", Stage="dev").outputs
