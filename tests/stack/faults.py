"""Which fault the real trainer meets: said by the test, read by `programs/trainer_with_faults.py`.

HOME/faults/<file-id>     the name of a fault; it meets the jobs that train on that file
"""

from pathlib import Path


def fault_file(home: Path, file_id: str) -> Path:
    return home / "faults" / file_id


def fault_of_run(run_config: Path, data_path: Path) -> Path:
    """The fault file of a run: HOME/jobs/<job-id>/run.json trains on HOME/files/<file-id>/..."""
    home = run_config.parents[2]
    return fault_file(home, data_path.relative_to(home / "files").parts[0])
