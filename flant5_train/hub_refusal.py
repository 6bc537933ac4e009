"""What to say when a model hub does not let a model be downloaded."""

from huggingface_hub.errors import RepositoryNotFoundError


def token_hint(error: BaseException) -> str:
    """A sentence about the token, where the hub wants one or another one; else nothing. A hub
    answers the same for a private model as for one that does not exist."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RepositoryNotFoundError):  # a gated one's error is one of those
            return (
                " A private or gated model needs a token that may read it, in the file that "
                "FLANT5_HUB_TOKEN_FILE names."
            )
        cause = cause.__cause__
    return ""
