"""The token with which base models are downloaded from a model hub, where they want one."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from worker.jobs.settings import SharedSettings


class HubTokenSettings(SharedSettings):
    """Of the processes that start a program which loads base models."""

    hub_token_file: Path | None = None
    """File with a token that may read the base models of the hub which are private or gated; an
    empty file is none. Every job can start from them that `hub_models` lets start."""

    @property
    def hub_environment(self) -> dict[str, str]:
        """What such a program is told: the path, so that the token is in no environment."""
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
                f"FLANT5_HUB_TOKEN_FILE {self.hub_token_file} has more than one word; expected "
                "the token alone"
            )
        return self
