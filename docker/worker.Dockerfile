# The worker: Celery, torchrun, torch.
#
#     docker build -f docker/worker.Dockerfile -t flant5-worker .
#
# torch includes its own CUDA libraries. The `base` flavour is enough for the NVIDIA container toolkit to
# mount the driver; `runtime` would contain the same libraries once more.
# Wheels in docker/wheels take precedence over those of an index, for instance a torch without CUDA.

ARG BASE_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ${BASE_IMAGE} AS base
# torch.compile needs the compiler and Python's headers: Triton builds its launchers with them.
# No versions, to get the distribution's security fixes.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ python3 python3-dev

FROM base AS build
# Add qlora for jobs with finetuning_type qlora (bitsandbytes).
ARG EXTRAS=worker,train
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv
ENV PIP_CACHE_DIR=/var/cache/pip
RUN python3 -m venv /opt/flant5
WORKDIR /src
# The locked packages first: they rarely change, so their layer stays cached.
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN --mount=type=cache,target=/var/cache/pip \
    --mount=type=bind,source=docker/wheels,target=/wheels \
    mkdir api worker flant5_train \
    && touch api/__init__.py worker/__init__.py flant5_train/__init__.py \
    && /opt/flant5/bin/pip install --find-links /wheels --constraint requirements.lock ".[${EXTRAS}]"
COPY api api
COPY worker worker
COPY flant5_train flant5_train
RUN --mount=type=cache,target=/var/cache/pip \
    --mount=type=bind,source=docker/wheels,target=/wheels \
    rm -rf build \
    && /opt/flant5/bin/pip install --find-links /wheels --no-deps --force-reinstall .

FROM base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flant5 worker" \
      org.opencontainers.image.description="Trains Flan-T5 for flant5, a fine-tuning service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 flant5 \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin flant5 \
    && install --directory --owner=10001 --group=10001 /var/lib/flant5 /var/cache/huggingface
COPY --from=build /opt/flant5 /opt/flant5
# Code compiled for a GPU is cached in the volume, because the container's own files are read-only.
ENV PATH=/opt/flant5/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FLANT5_HOME=/var/lib/flant5 \
    HF_HOME=/var/cache/huggingface \
    TRITON_CACHE_DIR=/var/lib/flant5/compiled/triton \
    TORCHINDUCTOR_CACHE_DIR=/var/lib/flant5/compiled/inductor \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /var/lib/flant5
HEALTHCHECK --interval=20s --timeout=50s --start-period=120s \
    CMD ["python", "-m", "worker.health"]
# stop_grace_period sets the time to save a checkpoint.
STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]
