"""A rotation of the keyring as Secrets Manager runs it: the deployed function is called for each step, with its own role."""

import json
import uuid

import jwt
import pytest

from deployment import Api, Operator, Stack, User
from leaks import NOTED

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
KINDS = ("signing", "refresh", "device", "pepper", "aead")
# Longer than any guard of a signing key.
LONG = 3 * 60 * 60


class Manager:
    """Secrets Manager, as far as the emulator is none: its RotateSecret calls no function, and makes a copy current."""

    def __init__(self, stack):
        self.stack = stack
        self.secrets, self.functions = stack.emulator.client("secretsmanager"), stack.emulator.client("lambda")
        function = self.functions.get_function_configuration(FunctionName=f"{stack.name}-rotation")
        self.keyring = function["Environment"]["Variables"]["SALLYPORT_KEYRING_SECRET"]
        # What the schedule of the template does.
        self.secrets.rotate_secret(SecretId=self.keyring, RotationLambdaARN=function["FunctionArn"])

    def reserve(self):
        """What a rotation begins with: a version that is pending, and holds nothing."""
        token = str(uuid.uuid4())
        self.pend(token)
        return token

    def pend(self, token, **value):
        """Makes a version pending. A stage is at one version; the emulator leaves it at the one before as well."""
        for version, stages in self.secrets.describe_secret(SecretId=self.keyring)["VersionIdsToStages"].items():
            if "AWSPENDING" in stages:
                self.secrets.update_secret_version_stage(
                    SecretId=self.keyring, VersionStage="AWSPENDING", RemoveFromVersionId=version,
                )
        self.secrets.put_secret_value(
            SecretId=self.keyring, ClientRequestToken=token, VersionStages=["AWSPENDING"], **value,
        )

    def call(self, step, token):
        """What the function returned, and whether that is an error."""
        event = {"Step": step, "SecretId": self.keyring, "ClientRequestToken": token}
        answer = self.functions.invoke(FunctionName=f"{self.stack.name}-rotation", Payload=json.dumps(event))
        return json.loads(answer["Payload"].read()), "FunctionError" in answer

    def rotate(self):
        """All steps of one rotation; its version, and its phase."""
        token = self.reserve()
        for step in STEPS:
            told, failed = self.call(step, token)
            assert not failed, f"{step}: {told}"
            assert told["step"] == step
        return token, told["phase"]

    def stages(self):
        """Stage → version."""
        described = self.secrets.describe_secret(SecretId=self.keyring)["VersionIdsToStages"]
        return {stage: version for version, stages in described.items() for stage in stages}

    def document(self):
        document = json.loads(self.secrets.get_secret_value(SecretId=self.keyring)["SecretString"])
        for kind in KINDS:
            for key in document[kind]:
                NOTED.secret(key.get("private_key") or key.get("key"), "a key of the keyring")
        return document

    def kids(self):
        """State → the signing key that is in it."""
        return {key["state"]: key["kid"] for key in self.document()["signing"]}

    def age(self, seconds):
        """Lets so much time have passed for the keyring: the clock of a deployed function is the machine's."""
        document = self.document()
        document["changed_at"] = document.get("changed_at") and document["changed_at"] - seconds
        for kind in KINDS:
            for key in document[kind]:
                for at in ("created_at", "since"):
                    if key.get(at):
                        key[at] -= seconds
        self.secrets.put_secret_value(SecretId=self.keyring, SecretString=json.dumps(document))

    def published(self):
        """Comes to where the next keys are public, and may not be used yet."""
        self.rotate_until("publish")

    def rotate_until(self, wanted):
        phase = None
        while phase != wanted:
            self.age(LONG)
            _, phase = self.rotate()

    def rotations(self):
        """Security events of rotations."""
        (table,) = [name for name in self.stack.tables() if "-Audit-" in name]
        pages = self.stack.emulator.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        return sum(event["kind"]["S"] == "keyring.rotated" for page in pages for event in page["Items"])

    def renew_copies(self):
        """Ends the copies of the keyring that functions keep for five minutes, and with them the processes."""
        for name in ("keys", "login", "refresh", "mfa"):
            name = f"{self.stack.name}-{name}"
            variables = self.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            variables["RENEWED"] = str(uuid.uuid4())
            self.functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


@pytest.fixture(scope="module")
def manager(emulator, artifacts):
    """Of a stack of its own: it leaves keys rotated."""
    stack = Stack(emulator, artifacts, "sallyport-rotated")
    try:
        stack.deploy()
        assert Api(stack.url).get("/.well-known/jwks.json").status_code == 200
        yield Manager(stack)
    finally:
        stack.delete()


@pytest.fixture(scope="module")
def user(manager, binary):
    return User(Operator(binary, manager.stack))


def jwks(api):
    return {key["kid"] for key in api.get("/.well-known/jwks.json").json()["keys"]}


def signed_by(token):
    return jwt.get_unverified_header(token)["kid"]


def test_a_whole_rotation_signs_nobody_out(manager, user):
    # Whatever came before: one key of each kind.
    manager.rotate_until("retire")
    manager.renew_copies()
    rotations = manager.rotations()
    api = Api(manager.stack.url)
    first = manager.kids()["current"]
    before = api.signed_in(user)
    assert signed_by(before["access_token"]) == first
    refresh = before["refresh_token"]

    def nobody_is_signed_out():
        nonlocal refresh
        response = api.get("/api/v1/mfa/factors", token=before["access_token"])
        assert response.status_code == 200, response.text
        response = api.post("/api/v1/auth/refresh", {"refresh_token": refresh})
        assert response.status_code == 200, response.text
        refresh = response.json()["refresh_token"]
        return response.json()["access_token"]

    current = manager.stages()["AWSCURRENT"]
    version, phase = manager.rotate()
    assert (phase, manager.stages()) == ("publish", {"AWSCURRENT": version, "AWSPREVIOUS": current})
    second = manager.kids()["next"]
    manager.renew_copies()
    assert jwks(api) == {first, second}
    assert signed_by(nobody_is_signed_out()) == first

    manager.age(LONG)
    current = manager.stages()["AWSCURRENT"]
    version, phase = manager.rotate()
    assert (phase, manager.stages()) == ("promote", {"AWSCURRENT": version, "AWSPREVIOUS": current})
    assert manager.kids() == {"previous": first, "current": second}
    manager.renew_copies()
    assert jwks(api) == {first, second}
    assert signed_by(nobody_is_signed_out()) == second
    assert signed_by(api.signed_in(user)["access_token"]) == second

    manager.age(LONG)
    version, phase = manager.rotate()
    assert (phase, manager.stages()["AWSCURRENT"]) == ("retire", version)
    manager.renew_copies()
    assert jwks(api) == {second}
    response = api.post("/api/v1/auth/refresh", {"refresh_token": refresh})
    assert response.status_code == 200, response.text

    assert manager.rotations() - rotations == 3


def test_a_step_that_is_repeated_changes_nothing(manager):
    manager.age(LONG)
    token = manager.reserve()
    for step in STEPS:
        told = [manager.call(step, token) for _ in range(2)]
        assert told[0] == told[1] and not told[0][1], told
    assert manager.stages()["AWSCURRENT"] == token and "AWSPENDING" not in manager.stages()


def test_a_step_that_comes_too_early_is_refused_and_leaves_no_stage_behind(manager):
    manager.published()
    stages, kids = manager.stages(), manager.kids()
    token = manager.reserve()
    assert manager.stages()["AWSPENDING"] == token
    told, failed = manager.call("createSecret", token)
    assert failed and "may be used in" in told["errorMessage"], told
    # Secrets Manager takes a stage that is left over for a rotation that still runs, and begins no other.
    assert (manager.stages(), manager.kids()) == (stages, kids)


@pytest.mark.parametrize("step", ["testSecret", "finishSecret"])
def test_a_pending_version_that_would_not_work_is_taken_away(manager, step):
    stages = manager.stages()
    token = str(uuid.uuid4())
    document = manager.document()
    # All keys at once, which nobody has seen before.
    for key in document["signing"]:
        key["kid"] = f"x{key['kid'][1:]}"
    manager.pend(token, SecretString=json.dumps(document))
    told, failed = manager.call(step, token)
    assert failed and "does not follow from the current keyring" in told["errorMessage"], told
    assert manager.stages() == stages


def test_a_stage_that_was_left_behind_is_healed_by_the_operators_step(manager, binary):
    manager.age(LONG)
    left = manager.reserve()
    rotated = Operator(binary, manager.stack)("keys", "rotate")
    stages = manager.stages()
    assert "AWSPENDING" not in stages and stages["AWSCURRENT"] != left, rotated
    # And the schedule goes on.
    manager.age(LONG)
    version, _ = manager.rotate()
    assert manager.stages()["AWSCURRENT"] == version


# What Secrets Manager does when a schedule is made or changed: this step alone, of a version that is pending and holds nothing or
# what is current. Stages of the version × what it holds → what is told, and whether it is pending afterwards.
CONFIGURATION = {"step": "testSecret", "phase": "configuration"}
TESTED = [
    (["AWSPENDING"], "nothing", CONFIGURATION, True),
    (["AWSPENDING"], "empty", CONFIGURATION, True),
    (["AWSPENDING"], "copy", CONFIGURATION, True),
    (["AWSPENDING"], "unfit", "does not follow from the current keyring", False),
    ([], "nothing", CONFIGURATION, False),
    (["AWSCURRENT"], "current", CONFIGURATION, False),
]


@pytest.mark.parametrize("stages, holds, expected, pending", TESTED)
def test_a_test_of_the_configuration_is_no_failure(manager, stages, holds, expected, pending):
    before = manager.stages()
    token = before["AWSCURRENT"] if holds == "current" else str(uuid.uuid4())
    document = manager.document()
    if holds == "unfit":
        document["signing"] = [key | {"kid": f"x{key['kid'][1:]}"} for key in document["signing"]]
    values = {
        "nothing": {}, "empty": {"SecretString": "{}"}, "copy": {"SecretString": json.dumps(document, indent=1)},
        "unfit": {"SecretString": json.dumps(document)},
    }
    if "AWSPENDING" in stages:
        manager.pend(token, **values[holds])
    told, failed = manager.call("testSecret", token)
    if isinstance(expected, dict):
        assert (told, failed) == (expected, False)
    else:
        assert failed and expected in told["errorMessage"], told
    assert (manager.stages().get("AWSPENDING") == token) == pending
    assert manager.stages()["AWSCURRENT"] == before["AWSCURRENT"]
    # What it leaves derails no rotation.
    manager.age(LONG)
    version, phase = manager.rotate()
    assert phase in ("publish", "promote", "retire") and manager.stages()["AWSCURRENT"] == version


def test_what_a_test_left_behind_gives_way_where_it_is_taken_for_a_rotation(manager):
    token = str(uuid.uuid4())
    manager.pend(token, SecretString=json.dumps(manager.document()))
    told, failed = manager.call("createSecret", token)
    assert failed and "begins anew" in told["errorMessage"], told
    assert "AWSPENDING" not in manager.stages()
    manager.age(LONG)
    version, _ = manager.rotate()
    assert manager.stages()["AWSCURRENT"] == version


def test_a_keyring_that_nobody_has_filled_is_no_failure(manager):
    """Every step of a keyring that is empty: of a stack whose first minutes these are."""
    document, filled = manager.document(), manager.stages()["AWSCURRENT"]
    manager.secrets.put_secret_value(SecretId=manager.keyring, SecretString="{}")
    try:
        token = manager.reserve()
        assert manager.call("testSecret", token) == (CONFIGURATION, False)
        for step in ("createSecret", "finishSecret"):
            told, failed = manager.call(step, token)
            assert (told, failed) == ({"step": step, "phase": "empty"}, False)
        assert "AWSPENDING" not in manager.stages()
    finally:
        manager.secrets.put_secret_value(SecretId=manager.keyring, SecretString=json.dumps(document))
    assert manager.stages()["AWSCURRENT"] != filled


def test_only_the_keyring_and_a_version_that_is_staged_are_rotated(manager):
    stages = manager.stages()
    told, failed = manager.call("createSecret", str(uuid.uuid4()))
    assert failed and "is not staged for rotation" in told["errorMessage"], told
    event = {"Step": "createSecret", "SecretId": "another", "ClientRequestToken": stages["AWSCURRENT"]}
    answer = manager.functions.invoke(FunctionName=f"{manager.stack.name}-rotation", Payload=json.dumps(event))
    assert "FunctionError" in answer
    assert manager.stages() == stages
