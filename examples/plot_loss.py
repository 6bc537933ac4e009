"""Draws the loss curve of a job from the REST API.

    python examples/plot_loss.py JOB_ID loss.png

Server from FLANT5_URL, key from FLANT5_API_KEY, as for the `flant5` command.
"""

import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from api.cli.client import Client
from api.cli.settings import ClientSettings


def main(job_id: str, picture: str) -> None:
    with Client(ClientSettings()) as client:
        curve = client.get(f"/fine_tuning/jobs/{job_id}/metrics")
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(curve["step"], curve["loss"], linewidth=0.8, label="training")
    axes.plot(curve["eval_step"], curve["eval_loss"], "o-", label="validation")
    axes.set(xlabel="optimizer step", ylabel="loss per target token", title=job_id)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=110)
    print(
        f"{picture}: {len(curve['step'])} steps, {curve['loss'][0]:.3f} to {curve['loss'][-1]:.3f}"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
