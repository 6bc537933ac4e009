"""Registry of integration types.

The module of a type has `ship(assignment, *, run, say)` (see worker.integrations.export_task). It
is imported in a separate process per job, which isolates the tracker's library. Each type also has
an account class in `worker.integrations.accounts`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    title: str
    """Display name."""
    module: str
    is_about_model: bool = False
    """True if only succeeded jobs are exported."""


KINDS = {
    "wandb": Kind("Weights & Biases", "worker.integrations.wandb"),
    "mlflow": Kind("MLflow", "worker.integrations.mlflow"),
    "huggingface": Kind("Hugging Face Hub", "worker.integrations.hub_model", is_about_model=True),
}
