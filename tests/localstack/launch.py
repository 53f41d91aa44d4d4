"""LocalStack, with functions that nobody can call. LocalStack's own Python runs this.

LocalStack takes Docker to run functions, and without it no function gets ready. Here they are ready at once: what is
tested is that CloudFormation makes them.
"""

import ctypes
import signal

from localstack.services.lambda_.invocation import runtime_executor

# prctl(2): it ends with the suite, even if that is killed.
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Idle(runtime_executor.RuntimeExecutor):
    @classmethod
    def prepare_version(cls, function_version):
        pass

    @classmethod
    def cleanup_version(cls, function_version):
        pass


# Before anything else of LocalStack is imported, which would keep the original.
runtime_executor.get_runtime_executor = lambda: Idle

from localstack.runtime.main import main  # noqa: E402

if __name__ == "__main__":
    main()
