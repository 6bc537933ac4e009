"""Pushes a directory to a hub: DIRECTORY ENDPOINT REPOSITORY TOKEN."""

import sys
from pathlib import Path

from worker.integrations.huggingface import Place, push

if __name__ == "__main__":
    directory, endpoint, repository, token = sys.argv[1:]
    place = Place(endpoint, repository)
    print(push(Path(directory), place=place, token=token, message="pushed by a program").url)
