"""Runs a command and says on a descriptor what it took: wait4's figures, of the process and all that it waited for.

usage: wait4.py FD COMMAND [ARGUMENT...]
A small process of its own, because a child's peak memory counts in that of the process which started it.
"""
import json
import os
import sys
import time

report, command = int(sys.argv[1]), sys.argv[2:]
os.set_inheritable(report, False)
start = time.monotonic()
child = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.monotonic() - start
os.write(report, json.dumps({
    'code': os.waitstatus_to_exitcode(status),
    'seconds': seconds,
    'cpuSeconds': usage.ru_utime + usage.ru_stime,
    'peakBytes': usage.ru_maxrss * 1024,
}).encode())
