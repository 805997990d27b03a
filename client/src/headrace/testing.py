"""For tests of programs that use Headrace: docs/testing.md shows how.

Only passes on parts of the package headrace-local, which the client itself does not need.
"""

try:
    from headrace_local.testing import Answer, ScriptedWorker, TestSystem, fail, retry, running_test_system, succeed
except ImportError as error:
    raise ImportError("headrace.testing needs a package that is not installed: pip install headrace-local") from error

__all__ = ["Answer", "ScriptedWorker", "TestSystem", "fail", "retry", "running_test_system", "succeed"]
