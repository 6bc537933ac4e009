"""What there is for each type of integration.

The module of a type has `ship(assignment, *, run, say)` (see worker.integrations.followed_run): it
is imported in a process of its own for each job, where a library of a tracker may do as it likes.
A type has its account in `worker.integrations.accounts` too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    title: str
    """As people call it."""
    module: str
    is_about_model: bool = False
    """Told of jobs that succeeded, and of no others."""


KINDS = {
    "wandb": Kind("Weights & Biases", "worker.integrations.wandb_run"),
    "mlflow": Kind("MLflow", "worker.integrations.mlflow_run"),
    "huggingface": Kind("Hugging Face Hub", "worker.integrations.hub_model", is_about_model=True),
}
