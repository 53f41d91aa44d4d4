"""infra/logs.yaml and infra/api-log.yaml as stacks of their own: the emulator forgets DeletionPolicy in nested stacks."""

import pytest

from template import ROOT, load

NAME = "sallyport-logs"


@pytest.fixture
def groups(emulator):
    """Makes the groups of a template, and says which there are."""
    formation, logs = emulator.client("cloudformation"), emulator.client("logs")

    class Groups:
        def create(self, template, retention):
            parameters = {"Deployment": NAME, "LogRetentionDays": "7", "LogKeyArn": "", "RetentionPolicy": retention}
            if "ApiAccount" in load(template)["Parameters"]:
                parameters["ApiAccount"] = "existing"
            formation.create_stack(
                StackName=NAME, TemplateBody=(ROOT / template).read_text(), Capabilities=["CAPABILITY_AUTO_EXPAND"],
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            )
            formation.get_waiter("stack_create_complete").wait(StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
            return self

        def delete(self):
            formation.delete_stack(StackName=NAME)
            formation.get_waiter("stack_delete_complete").wait(StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 30})

        def there(self):
            found = logs.describe_log_groups(logGroupNamePrefix=f"/sallyport/{NAME}/")["logGroups"]
            return {group["logGroupName"]: group.get("retentionInDays") for group in found}

    yield Groups()
    for name in Groups().there():
        logs.delete_log_group(logGroupName=name)


@pytest.mark.parametrize("template", ["infra/logs.yaml", "infra/api-log.yaml"])
@pytest.mark.parametrize("retention", ["Delete", "Retain"])
def test_groups_go_with_the_stack_unless_its_data_is_protected(groups, template, retention):
    made = groups.create(template, retention).there()
    assert len(made) == len(load(template)["Resources"]) and set(made.values()) == {7}
    groups.delete()
    assert groups.there() == (made if retention == "Retain" else {})
