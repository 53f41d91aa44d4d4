"""What a page finds, what a person does between its blocks, and what is seen afterwards. A page without a scene only looks."""

import json
import time

from deployment import User

SCENES = {}


def scene(play):
    SCENES[play.__name__.replace("_", "-")] = play
    return play


def looks(page, stage):
    while page.left:
        page.play()


def prepare(stage):
    """What all pages find: something to see for those that look, and what their variables name."""
    opened = stage.operator("incident", "open", "--severity", "SEV1", "--cause", "security", "what is known so far")
    stage.set(
        INCIDENT=opened["incident"], EMAIL="on-call@example.test", TABLE=stage["SALLYPORT_USERS_TABLE"],
        RESTORE_TIME=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        # The default of the template.
        LOG_DAYS="30",
        # Only of commands that are not answered.
        DEPLOYMENT="d-ABCDEF123", EVIDENCE_BUCKET="evidence",
    )
    name = stage.stack.name
    alarms, alarm = stage.client("cloudwatch"), f"{name}-database-system-errors"
    # The stack has the basic set, without those of the database.
    alarms.put_metric_alarm(
        AlarmName=alarm, Namespace="Pages", MetricName="errors", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=0, ComparisonOperator="GreaterThanThreshold",
    )
    alarms.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="It rings.")
    # The emulator forgets it in nested stacks.
    recovers(stage.client("dynamodb"), stage["TABLE"], True)
    logs, group = stage.client("logs"), f"/sallyport/{name}/login"
    report = {"type": "platform.report", "record": {"status": "timeout"}}
    logs.create_log_stream(logGroupName=group, logStreamName="pages")
    logs.put_log_events(
        logGroupName=group, logStreamName="pages",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": json.dumps(report)}],
    )
    # The emulator does not filter, and shows the oldest.
    group = f"/sallyport/{name}/maintenance"
    logs.create_log_stream(logGroupName=group, logStreamName="pages")
    logs.put_log_events(
        logGroupName=group, logStreamName="pages",
        logEvents=[{"timestamp": int(time.time() * 1000) - 3_600_000, "message": json.dumps(report)}],
    )
    certificate = stage.client("acm").request_certificate(DomainName="auth.example.test")["CertificateArn"]
    stage.shows |= {
        "acm list-certificates": certificate,
        "cloudformation describe-stack-events": "CREATE_COMPLETE",
        "cloudformation describe-stacks": "CriticalTopic",
        "cloudwatch describe-alarms": alarm,
        "dynamodb describe-continuous-backups": '"PointInTimeRecoveryStatus": "ENABLED"',
        "dynamodb describe-table": '"TableStatus": "ACTIVE"',
        "iam get-account-authorization-details": f"{name}-",
        "lambda get-account-settings": "ConcurrentExecutions",
        "lambda list-aliases": "live",
        "logs filter-log-events": "platform.report",
        "secretsmanager describe-secret": "AWSCURRENT",
    }


@scene
def alarm_topic_unheard(page, stage):
    looks(page, stage)
    sns = stage.client("sns")
    topic = stage.stack.outputs["CriticalTopic"]
    heard = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert ("email", stage["EMAIL"]) in [(one["Protocol"], one["Endpoint"]) for one in heard]


@scene
def key_compromise(page, stage):
    secrets, keyring = stage.client("secretsmanager"), stage["SALLYPORT_KEYRING_SECRET"]
    good = secrets.get_secret_value(SecretId=keyring)["VersionId"]
    bad = secrets.put_secret_value(SecretId=keyring, SecretString="{}")["VersionId"]
    stage.set(GOOD_VERSION=good, BAD_VERSION=bad)
    assert "GetSecretValue" in page.play("lookup-events")
    versions = page.play("list-secret-version-ids")
    assert good in versions and bad in versions
    page.play("update-secret-version-stage")
    assert secrets.get_secret_value(SecretId=keyring)["VersionId"] == good
    assert stage.operator("keys", "list")


@scene
def recovery_off(page, stage):
    dynamodb, table = stage.client("dynamodb"), stage["TABLE"]
    recovers(dynamodb, table, False)
    assert "UpdateContinuousBackups" in page.play("lookup-events")
    page.play("update-continuous-backups")
    page.play("describe-continuous-backups")


@scene
def refresh_token_reuse(page, stage):
    dynamodb, name = stage.client("dynamodb"), f"{stage.stack.name}-taken"
    dynamodb.restore_table_to_point_in_time(
        SourceTableName=stage["TABLE"], TargetTableName=name, UseLatestRestorableTime=True
    )
    dynamodb.delete_table(TableName=name)
    assert "RestoreTableToPointInTime" in page.play("lookup-events")


@scene
def restore_proof_old(page, stage):
    dynamodb, left = stage.client("dynamodb"), f"{stage.stack.name}-drill-f89072a97926-users"
    key = {"AttributeName": "pk"}
    dynamodb.create_table(
        TableName=left, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[key | {"AttributeType": "S"}], KeySchema=[key | {"KeyType": "HASH"}],
    )
    assert json.loads(page.play("list-tables")) == [left]
    dynamodb.delete_table(TableName=left)


@scene
def rollback(page, stage):
    """The last release published another version, and the alias moved to it."""
    functions, name = stage.client("lambda"), f"{stage.stack.name}-login"
    before = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    functions.update_function_configuration(FunctionName=name, Description="Does harm.")
    harmful = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=harmful)
    assert harmful != before
    page.play("deploy rollback")
    assert functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == before
    # No update is under way.
    page.play("cancel-update-stack")
    stage.operator("migrate", "up")
    page.play("migrate down")
    migrations = stage.operator("migrate", "status")["migrations"]
    assert [entry for entry in migrations if entry["state"] == "applied"] == []
    page.play("deploy settle")


@scene
def security_incident(page, stage):
    page.play("put-retention-policy")
    assert "PutSecretValue" in page.play("lookup-events")
    group = f"/sallyport/{stage.stack.name}/login"
    (kept,) = [
        found for found in stage.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if found["logGroupName"] == group
    ]
    assert kept["retentionInDays"] == 400
    backups = stage.client("dynamodb").list_backups(TableName=stage["SALLYPORT_AUDIT_TABLE"])["BackupSummaries"]
    assert [backup["BackupName"] for backup in backups] == [f"evidence-{stage['INCIDENT']}"]
    assert f"{group} keeps its lines for 400 days, not 30" in stage.run("sallyport retention check", page.directory).stdout
    page.play("retention check")


@scene
def restore_from_backup(page, stage):
    """Both ways: one account's items are put back, then the whole table is. The emulator restores what is there, whatever
    the moment: so the damage is done after the restore."""
    dynamodb, table = stage.client("dynamodb"), stage["TABLE"]
    user = User(stage.operator)
    item = f"EMAIL#{user.email}"
    stage.set(ITEM=item)
    # As in prod.
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)

    def enters():
        return stage.api.login(user).status_code == 200

    def damage():
        found = dynamodb.query(
            TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": item}}
        )["Items"]
        for one in found:
            dynamodb.delete_item(TableName=table, Key={"pk": one["pk"], "sk": one["sk"]})
        assert found and not enters()

    def is_as_the_template_wants():
        described = dynamodb.describe_table(TableName=table)["Table"]
        recovery = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        return (
            described["TableStatus"], described["DeletionProtectionEnabled"],
            recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
        ) == ("ACTIVE", True, "ENABLED")

    assert enters()
    page.play("describe-continuous-backups")
    page.play("restore-table-to-point-in-time")
    page.play("wait table-exists")
    damage()
    page.play("restored.json")
    page.play("put-back.json")
    assert enters()

    damage()
    # Followed twice: there are two backups of each name, and the newest counts; a table that is gone is no failure.
    again = page.left[0]
    page.play("create-backup")
    time.sleep(1)
    page.left.insert(0, again)
    page.play("create-backup")
    page.play("= AVAILABLE")
    again = page.left[0]
    page.play("delete-table")
    page.left.insert(0, again)
    page.play("delete-table")
    page.play("restore-table-from-backup")
    page.play("wait table-exists")
    page.play("deletion-protection-enabled")
    page.play("update-time-to-live")
    assert enters() and is_as_the_template_wants()
    forgets = dynamodb.describe_time_to_live(TableName=stage["SALLYPORT_AUDIT_TABLE"])["TimeToLiveDescription"]
    assert forgets == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}

    # The damaged state comes back by what Rollback says: the table goes as before, and the block restores it.
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)
    page.play("damaged-$INCIDENT")
    dynamodb.get_waiter("table_exists").wait(TableName=table)
    assert not enters()

    # "Then wait, and set recovery and protection as there": but a protected table would outlive the stack.
    recovers(dynamodb, table, True)
    dynamodb.delete_table(TableName=f"{table}-restored")


def recovers(dynamodb, table, whether):
    dynamodb.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": whether}
    )
