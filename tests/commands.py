"""Commands of the system that tests run to their end."""

import subprocess


def run(*command: str, timeout: float = 600, **options: object) -> str:
    """What a command prints. Raises AssertionError with all it said when it fails."""
    done = subprocess.run(  # type: ignore[call-overload]
        command, capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    assert done.returncode == 0, (
        f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )
    return str(done.stdout)
