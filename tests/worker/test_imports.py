"""What is not loaded by the worker; who may import whom is asked in tests/test_architecture.py."""

import pkgutil
import subprocess
import sys

import worker


def test_neither_torch_nor_a_web_framework_is_loaded_by_any_module_of_the_worker() -> None:
    modules = [
        module.name
        for module in pkgutil.walk_packages(worker.__path__, "worker.")
        if not module.name.endswith("__main__")
    ]
    code = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'transformers', 'fastapi', 'sentencepiece'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
