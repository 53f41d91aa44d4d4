"""What the emulator does not answer of the pages' commands, and what it answers otherwise than AWS. Tests hold it to both, so
that an entry goes once it is no longer true."""

import time

NO_SERVICE = "An error occurred (400)"

# Operation → what it is refused with, and why. These commands are only held against AWS's service models.
REFUSED = {
    "deploy list-deployments": (NO_SERVICE, "the emulator has no CodeDeploy"),
    "deploy stop-deployment": (NO_SERVICE, "the emulator has no CodeDeploy"),
    "health describe-events": (NO_SERVICE, "the emulator has no AWS Health"),
    "logs create-export-task": ("Unknown action", "the emulator's logs have no exports"),
    "logs describe-export-tasks": ("Unknown action", "the emulator's logs have no exports"),
    "logs tail": ("Invalid choice", "only version 2 of the command line has it, and PyPI only version 1"),
    "service-quotas get-service-quota": (NO_SERVICE, "the emulator has no quotas"),
    "service-quotas request-service-quota-increase": (NO_SERVICE, "the emulator has no quotas"),
}


def lines(stage, pattern):
    group = f"/sallyport/{stage.stack.name}/login"
    return stage.client("logs").filter_log_events(logGroupName=group, filterPattern=pattern)["events"]


def asked(stage, query):
    """What Logs Insights answers of the last hour."""
    logs, now = stage.client("logs"), int(time.time())
    started = logs.start_query(
        logGroupName=f"/sallyport/{stage.stack.name}/login", startTime=now - 3600, endTime=now + 60, queryString=query
    )
    return logs.get_query_results(queryId=started["queryId"])["results"]


def changes(stage):
    attribute = {"AttributeKey": "ResourceName", "AttributeValue": stage.stack.name}
    return stage.client("cloudtrail").lookup_events(LookupAttributes=[attribute])["Events"]


def restores(stage, moment):
    dynamodb, table = stage.client("dynamodb"), f"{stage['TABLE']}-of-then"
    dynamodb.restore_table_to_point_in_time(
        SourceTableName=stage["TABLE"], TargetTableName=table, RestoreDateTime=moment
    )
    dynamodb.delete_table(TableName=table)
    return True


def backup(stage):
    return stage.client("dynamodb").create_backup(TableName=stage["TABLE"], BackupName="soon")["BackupDetails"]


def forgets(stage):
    specification = {"Enabled": True, "AttributeName": "expires_at"}
    return stage.client("dynamodb").update_time_to_live(
        TableName=stage["SALLYPORT_AUDIT_TABLE"], TimeToLiveSpecification=specification
    )


# What is played and shows less than on AWS → whether it still is so.
OTHERWISE = {
    "every line fits a pattern for JSON": lambda stage: lines(stage, '{ $.type = "none" }') != [],
    "no line fits a pattern of alternatives": lambda stage: lines(stage, '?"platform.report" ?"none"') == [],
    "Logs Insights finds every line, whatever the query": lambda stage: asked(stage, 'filter type = "none"') != [],
    "CloudTrail names no stack": lambda stage: changes(stage) == [],
    "a table is restored to now, whatever the moment": lambda stage: restores(stage, "2001-01-01T00:00:00Z"),
    "a backup is ready at once, and so is a table": lambda stage: backup(stage)["BackupStatus"] == "AVAILABLE",
    "TTL that is on may be switched on again": lambda stage: forgets(stage) and forgets(stage),
}
