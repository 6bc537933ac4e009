"""All checks of a host, in display order."""

import socket
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from api.cli.doctor.check import Check, Finding, Host, failed, fine
from api.cli.doctor.docker import (
    check_compose,
    check_containers,
    check_data_root,
    check_engine,
    check_shared_memory,
)
from api.cli.doctor.gpu import check_driver, check_gpus, check_toolkit, installed_torch
from api.cli.doctor.installation import (
    check_home,
    check_host_name,
    check_keys,
    check_secrets,
    check_temporary_files,
)
from api.cli.doctor.redis import check_losses, check_port, check_redis, check_service
from api.cli.doctor.services import (
    check_controller,
    check_integrations,
    check_serving,
    check_webhooks,
    check_workers,
)
from api.cli.settings import UpSettings
from api.settings import ApiSettings


def all_checks(directory: Path) -> tuple[Check, ...]:
    """Returns the checks of this host, and of the deployment in `directory`.

    This function does nothing that could hang: only the checks run with a timeout.
    """
    host = Host.look()
    try:
        settings = ApiSettings()
        files = UpSettings()
    except ValidationError as error:
        wrong = partial(_wrong_settings, error)
        return (*_of_host(host, directory), Check("settings", wrong))
    name = partial(check_host_name, socket.gethostname(), node_address=files.node_address)
    return (
        *_of_host(host, directory),
        Check("settings", partial(fine, f"FLANT5_HOME is {settings.home.resolve()}")),
        Check("host name", name),
        *_of_service(host, settings),
        Check("webhooks", partial(check_webhooks, settings.redis_url, file=files.webhooks_file)),
        Check(
            "integrations",
            partial(check_integrations, settings.redis_url, file=files.integrations_file),
        ),
    )


def _of_host(host: Host, directory: Path) -> tuple[Check, ...]:
    torch = installed_torch()
    memory = partial(
        check_shared_memory,
        Path("/dev/shm"),  # noqa: S108
        host=host,
        trains_here=torch is not None,
    )
    return (
        Check("docker engine", partial(check_engine, host)),
        Check("docker compose", partial(check_compose, host)),
        Check("docker disk", partial(check_data_root, host)),
        Check("GPUs", partial(check_gpus, host)),
        Check("GPU driver", partial(check_driver, host, torch=torch)),
        Check("container toolkit", partial(check_toolkit, host)),
        Check("shared memory", memory),
        Check("secrets", partial(check_secrets, directory)),
        Check("containers", partial(check_containers, directory)),
    )


def _of_service(host: Host, settings: ApiSettings) -> tuple[Check, ...]:
    url = settings.redis_url
    is_chosen = "redis_url" in settings.model_fields_set
    return (
        Check("home", partial(check_home, settings.home)),
        Check("temporary files", check_temporary_files),
        Check("port", partial(check_port, settings.host, settings.port)),
        Check("API keys", partial(check_keys, settings.api_keys_file, host=host)),
        Check(
            "redis",
            partial(
                check_redis, url, is_chosen=is_chosen, may_lose_data=settings.allow_lossy_redis
            ),
        ),
        Check("data of redis", partial(check_losses, url, settings.home_directories)),
        Check("service", partial(check_service, url, settings.home_directories)),
        Check("workers", partial(check_workers, url)),
        Check("controller", partial(check_controller, url)),
        Check("serving process", partial(check_serving, url)),
    )


def _wrong_settings(error: ValidationError) -> Finding:
    """Returns a finding without the values of settings, which may be passwords."""
    faults = error.errors(include_input=False, include_url=False)
    summary = "; ".join(
        f"{''.join(f'FLANT5_{part} '.upper() for part in fault['loc'])}"
        f"{fault['msg'].removeprefix('Value error, ')}"
        for fault in faults
    )
    return failed(
        summary,
        expected="settings as in .env.example; Redis, HOME and keys were not checked",
        remedy="correct them in .env or in the environment",
    )
