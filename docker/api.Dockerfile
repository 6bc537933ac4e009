# The API, the controller, the webhook sender and the command line, without torch.
#
#     docker build -f docker/api.Dockerfile -t flant5-api .
#
# `--target integrations` adds the exporter to W&B, MLflow and model hubs.
#
# Wheels in docker/wheels take precedence over those of an index.

ARG BASE_IMAGE=ubuntu:24.04

FROM ${BASE_IMAGE} AS base
# No versions, to get the distribution's security fixes.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3

FROM base AS build
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
    && /opt/flant5/bin/pip install --find-links /wheels --constraint requirements.lock '.[api,cli,webhooks]'
COPY api api
COPY worker worker
COPY flant5_train flant5_train
RUN --mount=type=cache,target=/var/cache/pip \
    --mount=type=bind,source=docker/wheels,target=/wheels \
    rm -rf build \
    && /opt/flant5/bin/pip install --find-links /wheels --no-deps --force-reinstall .

FROM build AS build-integrations
RUN --mount=type=cache,target=/var/cache/pip \
    --mount=type=bind,source=docker/wheels,target=/wheels \
    /opt/flant5/bin/pip install --find-links /wheels --constraint requirements.lock '.[integrations]'

FROM base AS run
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flant5 API" \
      org.opencontainers.image.description="REST API and controller of flant5, a fine-tuning service for Flan-T5" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 flant5 \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin flant5 \
    && install --directory --owner=10001 --group=10001 /var/lib/flant5
ENV PATH=/opt/flant5/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FLANT5_HOME=/var/lib/flant5
USER 10001:10001
WORKDIR /var/lib/flant5

FROM run AS integrations
COPY --from=build-integrations /opt/flant5 /opt/flant5
LABEL org.opencontainers.image.title="flant5 integrations" \
      org.opencontainers.image.description="Sends jobs of flant5, a fine-tuning service for Flan-T5, to trackers and model hubs"
HEALTHCHECK --interval=15s --timeout=15s --start-period=60s \
    CMD ["python", "-m", "worker.integrations.health"]
CMD ["python", "-m", "worker.integrations"]

FROM run
COPY --from=build /opt/flant5 /opt/flant5
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=15s --start-period=60s \
    CMD ["python", "-m", "api.health"]
CMD ["python", "-m", "api"]
