"""Allowlist of environment variables that a worker passes to the programs it starts.

Everything else is withheld: passwords, keys and the service's own settings. docs/deploy.md has the
same table; a test compares the two.
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate

PASSED: dict[str, tuple[str, ...]] = {
    "the system": (
        *("PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR"),
        *("LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "MALLOC_*"),
    ),
    "GPUs": ("CUDA_*", "CUBLAS_*", "CUDNN_*", "NVIDIA_*"),
    "torch": ("PYTORCH_*", "TORCH_*", "TORCHINDUCTOR_*", "TORCHDYNAMO_*", "TRITON_*"),
    "threads": (
        *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "DNNL_*", "ONEDNN_*"),
        *("RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM"),
    ),
    "connections between ranks": ("NCCL_*", "GLOO_*", "FI_*", "UCX_*", "IBV_*", "RDMAV_*"),
    "proxies": (
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    ),
    "certificates": ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    "the model hub": ("HF_HOME", "HF_ENDPOINT", "HF_HUB_*", "HF_XET_*", "XDG_CACHE_HOME"),
}
"""Subject -> names; `*` stands for any further characters."""

_PASSED = re.compile("|".join(translate(name) for names in PASSED.values() for name in names))

_SECRET = re.compile(
    r"(?!HF_HUB_DISABLE_IMPLICIT_TOKEN$)"  # a switch
    r"(?:FLANT5_.*|AWS_.*"
    r"|(?:.*_)?(?:TOKENS?|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|KEYS?)(?:_.*)?)",
    re.IGNORECASE,
)
# Makes `torch.load` run code contained in the file.
_UNSAFE = frozenset({"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"})
_OF_THE_LAUNCHER = re.compile(
    r"(?:LOCAL_|GROUP_|ROLE_)?(?:RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(?:ADDR|PORT)"
    r"|TORCHELASTIC_.*|PET_.*|PYTHONUNBUFFERED"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def allowed_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Returns the part of the environment that a worker passes to every program."""
    return {name: value for name, value in inherited.items() if _is_passed(name)}


def named_environment(inherited: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Returns the variables that the operator named, as far as they are set."""
    return {name: inherited[name] for name in names if name in inherited}


def variable_names(text: str) -> tuple[str, ...]:
    """Returns the names in a comma-separated list.

    Raises ValueError for an invalid name, a secret, or a variable that torchrun sets in each rank.

    >>> variable_names("LD_PRELOAD, MY_SITE")
    ('LD_PRELOAD', 'MY_SITE')
    """
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"FLANT5_TRAINER_ENVIRONMENT contains {name!r}, which is not a variable name; "
                "expected comma-separated names without values or patterns"
            )
        if _SECRET.fullmatch(name):
            raise ValueError(
                f"FLANT5_TRAINER_ENVIRONMENT contains {name}, which looks like a secret or a "
                "setting of the service; these are never passed to a trainer: remove it"
            )
        if _OF_THE_LAUNCHER.fullmatch(name):
            raise ValueError(
                f"FLANT5_TRAINER_ENVIRONMENT contains {name}, which torchrun or the worker sets "
                "for each run; remove it"
            )
    return names


def _is_passed(name: str) -> bool:
    if name in _UNSAFE or _SECRET.fullmatch(name):
        return False
    return _PASSED.fullmatch(name) is not None
