"""Pictures of pages, put into the folder that FLANT5_TEST_SCREENSHOTS names; none without it."""

import os
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

MAX_BYTES = 150_000


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("FLANT5_TEST_SCREENSHOTS")
    if folder:
        # Charts are drawn a moment after their numbers are there.
        page.wait_for_timeout(700)
        path = Path(folder) / f"{name}.png"
        taken = page.screenshot(full_page=name.startswith(("job-", "new-", "failed-")))
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(BytesIO(taken)) as image:
            image.convert("RGB").quantize(96).save(path, optimize=True)
        assert path.stat().st_size < MAX_BYTES, path
