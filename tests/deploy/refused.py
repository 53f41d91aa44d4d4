"""Commands of the pages that are not played, each with why. They are only held against AWS's service models."""

NO_SERVICE = "An error occurred (400)"

# Operation → what it is refused with, and why. A test plays each, and fails once it is answered: then it leaves the list.
REFUSED = {
    "deploy list-deployments": (NO_SERVICE, "the emulator has no CodeDeploy"),
    "deploy stop-deployment": (NO_SERVICE, "the emulator has no CodeDeploy"),
    "health describe-events": (NO_SERVICE, "the emulator has no AWS Health"),
    "logs create-export-task": ("Unknown action", "the emulator's logs have no exports"),
    "logs describe-export-tasks": ("Unknown action", "the emulator's logs have no exports"),
    "logs tail": ("Invalid choice", "only version 2 of the command line has it, and Python's registry only version 1"),
    "service-quotas get-service-quota": (NO_SERVICE, "the emulator has no quotas"),
    "service-quotas request-service-quota-increase": (NO_SERVICE, "the emulator has no quotas"),
}
