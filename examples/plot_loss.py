"""Draws the loss curve of a job from the REST API.

    python examples/plot_loss.py JOB_ID loss.png

Server from FLANT5_URL, key from FLANT5_API_KEY, as for the `flant5` command.
"""

import os
import sys

import httpx
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def main(job_id: str, picture: str) -> None:
    url = os.environ.get("FLANT5_URL", "http://127.0.0.1:8000/v1")
    key = os.environ.get("FLANT5_API_KEY", "none")
    answer = httpx.get(
        f"{url}/fine_tuning/jobs/{job_id}/metrics", headers={"Authorization": f"Bearer {key}"}
    )
    curve = answer.raise_for_status().json()
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
