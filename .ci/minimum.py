"""The oldest version that setup.cfg allows of each package, as constraints for pip."""

import re
import sys
from configparser import ConfigParser

TESTED = "zookeeper", "test"
"""Extras whose lower bounds count, too."""

config = ConfigParser()
config.read(sys.argv[1])
needs = config["options"]["install_requires"]
for extra in TESTED:
    needs += "\n" + config["options.extras_require"].get(extra, raw=True)
for line in needs.splitlines():
    if line.strip() and not line.lstrip().startswith(("#", "%")):
        name, oldest = re.fullmatch(r"([\w.-]+) >= ([\d.]+)(?:, < [\d.]+)?", line.strip()).groups()
        print(f"{name} == {oldest}")
