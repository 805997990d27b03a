"""For tests of programs that use Headrace; docs/testing.md shows how. Knows only where the parts come from.

They are those of the package headrace-local, which the client itself never needs.
"""

try:
    from headrace_local.testing import Answer, ScriptedWorker, TestSystem, fail, retry, running_test_system, succeed
except ImportError as error:
    raise ImportError("headrace.testing needs a package that is not installed: pip install headrace-local") from error

__all__ = ["Answer", "ScriptedWorker", "TestSystem", "fail", "retry", "running_test_system", "succeed"]
