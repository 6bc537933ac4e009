"""A check that reads what it shall say from the file itself.

{"exit_code": 2, "stdout": "...", "stderr": "...", "hangs": true}; an empty object is a good file.
"""

import json
import signal
import sys
from pathlib import Path

script = json.loads(Path(sys.argv[1]).read_text() or "{}")
print(script.get("stdout", '{"files": []}'))
print(script.get("stderr", ""), file=sys.stderr)
while script.get("hangs"):
    signal.pause()
sys.exit(script.get("exit_code", 0))
