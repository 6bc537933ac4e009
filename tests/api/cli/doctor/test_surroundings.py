"""Where the doctor runs, told by the files of a host."""

from pathlib import Path

from api.cli.doctor.check import Host


def put_device(root: Path, name: str, *, vendor: str, kind: str) -> None:
    device = root / "sys" / "bus" / "pci" / "devices" / name
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")


def test_a_card_is_seen_without_its_driver(tmp_path: Path) -> None:
    put_device(tmp_path, "0", vendor="0x8086", kind="0x030000")
    put_device(tmp_path, "1", vendor="0x10de", kind="0x040300")
    assert Host.look(tmp_path) == Host(in_container=False, has_card=False)
    put_device(tmp_path, "2", vendor="0x10de", kind="0x030200")
    assert Host.look(tmp_path) == Host(in_container=False, has_card=True)


def test_a_container_is_known_by_the_file_of_its_engine_and_sees_cards_that_are_not_for_it(
    tmp_path: Path,
) -> None:
    put_device(tmp_path, "0", vendor="0x10de", kind="0x030200")
    (tmp_path / ".dockerenv").touch()
    assert Host.look(tmp_path) == Host(in_container=True, has_card=False)
