"""The host's own name, resolved for real on hosts of several names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli.doctor.check import State
from api.cli.doctor.installation import check_host_name
from tests.host_names import UNRESOLVABLE, on_host_called

LOOK = """
import json, socket
from api.cli.doctor.installation import check_host_name
print(json.dumps(check_host_name(socket.gethostname(), node_address=None).as_document()))
"""


@pytest.mark.parametrize(
    ("name", "hosts", "state", "found"),
    [
        (UNRESOLVABLE, "", State.WARNING, f"name {UNRESOLVABLE} does not resolve ("),
        ("gpu-box", "192.0.2.1 gpu-box\n", State.WARNING, "resolves to 192.0.2.1, not to this"),
        ("gpu-box", "127.0.1.1 gpu-box\n", State.OK, "127.0.1.1 (loopback); multi-host jobs"),
    ],
)
def test_the_name_is_looked_up_and_its_address_tried(
    tmp_path: Path, name: str, hosts: str, state: State, found: str
) -> None:
    hosts_file = tmp_path / "hosts"
    hosts_file.write_text(f"127.0.0.1 localhost\n{hosts}")
    command = on_host_called(name, [sys.executable, "-c", LOOK], hosts_file=hosts_file)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    finding = json.loads(done.stdout)
    assert finding["state"] == state
    assert found in finding["found"]
    assert ("/etc/hosts" in finding["remedy"]) == (state is State.WARNING)


def test_an_address_that_the_operator_gave_needs_no_name() -> None:
    finding = check_host_name(UNRESOLVABLE, node_address="10.0.0.7")
    assert finding.state is State.OK
    assert "10.0.0.7" in finding.found
