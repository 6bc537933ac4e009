"""The access token for private and gated base models on a model hub."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from worker.jobs.settings import SharedSettings


class HubTokenSettings(SharedSettings):
    """Settings of processes that start a program which loads base models."""

    hub_token_file: Path | None = None
    """File with a token for private or gated base models. An empty file means no token. Every job
    can use these models, within the limits of `hub_models`."""

    @property
    def hub_environment(self) -> dict[str, str]:
        """Variables for such a program: the path only, to keep the token out of environments."""
        if self.hub_token_file is None:
            return {}
        return {"HF_TOKEN_PATH": str(self.hub_token_file.resolve())}

    @model_validator(mode="after")
    def _expect_one_token(self) -> Self:
        if self.hub_token_file is None:
            return self
        try:
            text = self.hub_token_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"FLANT5_HUB_TOKEN_FILE {self.hub_token_file} can't be read: {error}"
            ) from error
        if len(text.split()) > 1:
            raise ValueError(
                f"FLANT5_HUB_TOKEN_FILE {self.hub_token_file} has more than one token; expected "
                "a single token"
            )
        return self
