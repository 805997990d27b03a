#!/usr/bin/env bash
# nice(1) has no effect on a process of another session: at niceness 19 it gets as much of a core as one at 0.
# Seen 2026-11-30 with Linux 6.18 and kernel.sched_autogroup_enabled=1, which is what most distributions have: the kernel shares a core
# between sessions first, and a session is what setsid(2), a terminal, a cron job or a service manager starts. Niceness counts only within
# one. What does count between sessions is /proc/PID/autogroup, which nice and renice do not set. A background job that was made polite
# with nice takes half of the core from the server beside it. Within a container that has CPU limits of its own, sessions are not grouped.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/burn.py" <<'PY'
import os
import sys
import time
from pathlib import Path

niceness, how = int(sys.argv[1]), sys.argv[2]
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if how == "nice":
    os.nice(niceness)
else:
    Path("/proc/self/autogroup").write_text(str(niceness))
end = time.monotonic() + 4
while time.monotonic() < end:
    pass
print(time.process_time())
PY
cat >"$work/compare.py" <<'PY'
import subprocess
import sys


def share(how, *, sessions):
    """What a process at 19 gets of one core for each second of a process at 0 beside it."""
    started = [
        subprocess.Popen([sys.executable, sys.argv[1], str(n), how], stdout=subprocess.PIPE, start_new_session=sessions)
        for n in (0, 19)
    ]
    polite, other = (float(each.communicate()[0]) for each in reversed(started))
    print(f"{how} 19, {'two sessions' if sessions else 'one session'}: {polite / other:.2f} s for each second of the other")
    return polite / other


within, between, grouped = share("nice", sessions=False), share("nice", sessions=True), share("autogroup", sessions=True)
sys.exit(0 if within < 0.3 and between > 0.7 and grouped < 0.3 else 1)
PY
python3 "$work/compare.py" "$work/burn.py"
