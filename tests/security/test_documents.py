"""What docs/security.md and SECURITY.md say was tried was tried."""

import re

from tests.stack.service import REPOSITORY

TEXT = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")


def test_each_attack_of_the_list_has_a_test() -> None:
    rows = re.findall(r"^\| (.+?) \| .+? \| (`.+`) \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 20
    for attack, tests in rows:
        named = re.findall(r"`([\w/.]+)`", tests)
        assert named, attack
        for name in named:
            path = REPOSITORY / (name if "/" in name else f"tests/security/{name}")
            assert path.is_file(), f"{attack}: {name}"


def test_the_numbers_are_of_a_run_without_a_defect() -> None:
    found = re.search(r"([\d,]+) malformed inputs on .*: 0 answers of 5xx", TEXT)
    assert found is not None
    assert int(found[1].replace(",", "")) >= 10_000
    assert "0 answers of another shape" in TEXT
    assert "the same as before" in TEXT
    assert re.search(r"[\d,]+ cases over \d+ operations, 0 failures", TEXT)


def test_the_threat_model_links_to_what_there_is() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([\w/.]+)\)", text)
    assert links
    for link in links:
        assert (REPOSITORY / link).is_file(), link
