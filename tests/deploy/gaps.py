"""What the emulator does not answer of the pages' commands, and what it answers otherwise than AWS. Tests hold it to both, so
that an entry goes once it is no longer true."""

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

LINES = 'aws logs filter-log-events --log-group-name "/sallyport/$SALLYPORT_STACK/login" --query "length(events)"'

# What a played command therefore does not show → commands that end with 0 as long as it is so.
OTHERWISE = {
    "a pattern for JSON picks lines: every line matches": f"""test "$({LINES} --filter-pattern '{{ $.type = "none" }}')" -gt 0""",
    "a pattern of alternatives picks lines: no line matches":
        f"""test "$({LINES} --filter-pattern '?"platform.report" ?"none"')" = 0""",
    "CloudTrail finds a stack's changes: it names no stack": """
        test "$(aws cloudtrail lookup-events --query "length(Events)" \
          --lookup-attributes AttributeKey=ResourceName,AttributeValue="$SALLYPORT_STACK")" = 0""",
    "a table is restored to its moment, within its window: every moment is now": """
        aws dynamodb restore-table-to-point-in-time --source-table-name "$TABLE" --target-table-name "$TABLE-of-old" \
          --restore-date-time 2001-01-01T00:00:00Z
        aws dynamodb delete-table --table-name "$TABLE-of-old\"""",
    "a backup takes its time, and the waits wait: it is ready at once": """
        test "$(aws dynamodb create-backup --table-name "$TABLE" --backup-name soon --query BackupDetails.BackupStatus \
          --output text)" = AVAILABLE""",
    "TTL that is on is not switched on again: it is": """
        aws dynamodb update-time-to-live --table-name "$SALLYPORT_AUDIT_TABLE" \
          --time-to-live-specification Enabled=true,AttributeName=expires_at
        aws dynamodb update-time-to-live --table-name "$SALLYPORT_AUDIT_TABLE" \
          --time-to-live-specification Enabled=true,AttributeName=expires_at""",
}
