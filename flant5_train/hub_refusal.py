"""Hint for a download that a model hub refuses."""

from huggingface_hub.errors import RepositoryNotFoundError


def token_hint(error: BaseException) -> str:
    """Returns a sentence about the access token if the hub may need one, else an empty string.

    The hub returns the same error for private and for missing models.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RepositoryNotFoundError):  # includes GatedRepoError
            return (
                " A private or gated model needs a token with read access, in the file that "
                "FLANT5_HUB_TOKEN_FILE names."
            )
        cause = cause.__cause__
    return ""
