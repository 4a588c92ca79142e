# machine.py -- what a record of measurements says about where they were made:
# the processor, the system and the command, never a name or a path.
import os
import platform
import sys


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def machine():
    command = [os.path.basename(a) if "/" in a else a for a in sys.argv]
    return {"processor": processor(), "cores": os.cpu_count(),
            "system": platform.system() + " "
            + platform.release().split("-")[0],
            "command": " ".join(command)}
