"""The child process of one publishing job: receives an assignment, checks the file under its limits,
and reports to its supervisor.

A crash ends only this process. It dies with its supervisor. It knows no Redis and no job id.
"""

import os
import resource
import sys
import traceback
from typing import IO

from shared_schemas.errors import ErrorInfo, HeadraceError
from shared_schemas.service.child import die_with

from inference_worker.publishing.messages import Entered, Refused, decode_assignment, line_of


def main() -> None:
    die_with(int(sys.argv[1]))
    # Standard output is the pipe for reports. What libraries print goes to standard error.
    reports = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    assignment = decode_assignment(sys.stdin.buffer.read())
    # Before ONNX Runtime is loaded, so that all that it maps counts.
    resource.setrlimit(resource.RLIMIT_AS, (assignment.memory_bytes, assignment.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    from inference_worker.publishing.probing import probe

    try:
        _send(reports, line_of(probe(assignment, enter=lambda phase: _send(reports, line_of(Entered(phase))))))
    except HeadraceError as error:
        _send(reports, line_of(Refused(error.info())))
    except OSError:
        # The fault of the machine, not of the file. The supervisor sees the process end.
        raise
    except Exception as error:  # a file that nobody expected must not be tried again and again
        fault = ErrorInfo(
            code="model_unsupported", message=f"the check of the file failed ({type(error).__name__})", retryable=False
        )
        _send(reports, line_of(Refused(fault, traceback=traceback.format_exc())))
    # This skips the interpreter's shutdown, which would wait for threads of a run that does not end.
    os._exit(0)


def _send(reports: IO[bytes], line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[reports.write(left) :]


if __name__ == "__main__":
    main()
