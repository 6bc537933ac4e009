"""Pushes a directory to a hub: DIRECTORY ENDPOINT REPOSITORY TOKEN."""

import sys
from pathlib import Path

from worker.integrations.hub_push import HubTarget, push

if __name__ == "__main__":
    directory, endpoint, repository, token = sys.argv[1:]
    place = HubTarget(endpoint, repository)
    print(push(Path(directory), target=place, token=token, message="pushed by a program").url)
