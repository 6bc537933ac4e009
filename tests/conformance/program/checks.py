"""All checks, by name, in their order: those that need the trained job come last."""

from collections.abc import Callable
from types import ModuleType

from tests.conformance.program import errors, files, jobs, models, retries
from tests.conformance.program.context import Context

Check = Callable[[Context], None]


def _checks_of(module: ModuleType) -> dict[str, Check]:
    """The functions of a module that take the context alone."""
    return {
        name: function
        for name, function in vars(module).items()
        if getattr(function, "__module__", None) == module.__name__
        and not name.startswith("_")
        and list(getattr(function, "__annotations__", {})) == ["context", "return"]
    }


CHECKS: dict[str, Check] = {
    name: check
    for module in (retries, jobs, files, errors, models)
    for name, check in _checks_of(module).items()
}
