"""The variables that reach a trainer: a walk over those of torch, its libraries and the network."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.processes.environment_policy import PASSED, allowed_environment, named_environment
from worker.settings import WorkerSettings

DEPLOY = Path(__file__).parents[3] / "docs" / "deploy.md"

REACHES = [
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    "TORCH_NCCL_TRACE_BUFFER_SIZE",
    "TORCH_DISTRIBUTED_DEBUG",
    "TORCH_CPP_LOG_LEVEL",
    "TORCH_LOGS",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "NCCL_DEBUG",
    "NCCL_IB_PKEY",
    "GLOO_SOCKET_IFNAME",
    "FI_PROVIDER",
    "UCX_NET_DEVICES",
    "RDMAV_FORK_SAFE",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "KMP_AFFINITY",
    "MKL_NUM_THREADS",
    "MALLOC_ARENA_MAX",
    "CUDA_HOME",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "HTTP_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HF_HOME",
    "HF_ENDPOINT",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "LC_ALL",
    "TMPDIR",
]

STAYS = [
    "FLANT5_REDIS_URL",
    "FLANT5_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_HUB_TOKEN",
    "WANDB_API_KEY",
    "OPENAI_API_KEY",
    "TORCH_HUB_TOKEN",
    "NCCL_SECRET",
    "MLFLOW_TRACKING_PASSWORD",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_RUN_ID",
    "PET_NNODES",
    "LD_PRELOAD",
    "PYTHONSTARTUP",
    "SSH_AUTH_SOCK",
    "MY_VARIABLE",
    "path",
]


def test_what_an_operator_sets_for_all_runs_reaches_the_trainer_and_secrets_stay() -> None:
    passed = allowed_environment(dict.fromkeys((*REACHES, *STAYS), "1"))
    assert sorted(passed) == sorted(REACHES)


def test_the_table_of_the_documents_is_the_list() -> None:
    section = DEPLOY.read_text(encoding="utf-8").partition("## The trainer's environment")[2]
    rows = re.findall(r"^\| ([^|]+) \| (`.*`) \|$", section.partition("\n## ")[0], re.MULTILINE)
    assert {about: tuple(re.findall(r"`([^`]+)`", names)) for about, names in rows} == PASSED


def test_further_names_are_passed_when_they_are_set() -> None:
    settings = WorkerSettings(worker_name="w", trainer_environment=" LD_PRELOAD,MY_SITE, ,UNSET ")
    inherited = {"LD_PRELOAD": "/lib/a.so", "MY_SITE": "x", "OTHER": "y"}
    named = named_environment(inherited, settings.trainer_environment_names)
    assert named == {"LD_PRELOAD": "/lib/a.so", "MY_SITE": "x"}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("HF_TOKEN", "contains HF_TOKEN, which looks like a secret"),
        ("aws_secret_access_key", "looks like a secret"),
        (
            "GOOD,FLANT5_REDIS_URL",
            "contains FLANT5_REDIS_URL, which looks like a secret or a setting",
        ),
        ("MASTER_ADDR", "torchrun or the worker sets"),
        ("PET_NNODES", "torchrun or the worker sets"),
        ("NCCL_*", "'NCCL_\\*', which is not a variable name"),
        ("A=1", "'A=1', which is not a variable name"),
        ("A B", "'A B', which is not a variable name"),
    ],
)
def test_names_that_must_not_reach_a_trainer_are_refused(names: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        WorkerSettings(worker_name="w", trainer_environment=names)
