# The forwarder as a container: `docker build -t microshare-forwarder .`; docs/install-container.md.
# A tag moves: to build the same again, name a digest, --build-arg PYTHON_IMAGE=python:3.12-slim@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
WORKDIR /src
RUN python -m venv /opt/microshare-forwarder
# For TELEMETRY=azure-monitor: --build-arg LOCK=requirements-telemetry.lock.
ARG LOCK=requirements.lock
# The packages by themselves, so that they are fetched again only where their list changes.
COPY ${LOCK} .
RUN /opt/microshare-forwarder/bin/pip install --require-hashes -r ${LOCK}
COPY . .
RUN /opt/microshare-forwarder/bin/pip install --no-deps . \
    && /opt/microshare-forwarder/bin/pip uninstall -y pip
# What runs may write nothing, so all is compiled here; by hash, as layers do not keep times.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/microshare-forwarder

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="microshare-forwarder" \
      org.opencontainers.image.description="Forwards Microshare building readings to Azure Event Hubs" \
      org.opencontainers.image.version="1.0.1"
# The image of Python comes without its library compiled: each command would do so again, for half a second.
RUN python -m compileall -q -j 0 -x '/(idlelib|lib2to3|pip|pydoc_data|tkinter|turtledemo)/' \
        --invalidation-mode unchecked-hash /usr/local/lib/python3.* \
    && install -d -o 65532 -g 65532 -m 0700 /var/lib/microshare-forwarder
COPY --from=build /opt/microshare-forwarder /opt/microshare-forwarder
# A secret is a file in /run/secrets that is called as its variable, for Docker's and Compose's secrets alike.
ENV PATH=/opt/microshare-forwarder/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CREDENTIALS_DIRECTORY=/run/secrets
USER 65532:65532
WORKDIR /var/lib/microshare-forwarder
VOLUME ["/var/lib/microshare-forwarder"]
# Reads the state alone. Two periods and five minutes: what is older has missed two runs.
HEALTHCHECK --interval=5m --timeout=30s --start-period=5m --retries=2 \
    CMD ["microshare-forwarder", "status", "--brief", "--max-behind", "35m", "--max-behind", "hourly-snapshot=125m"]
# A run ends within 30 seconds of it: `docker stop --time 45`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["microshare-forwarder"]
CMD ["serve"]
