# The server with its bundled models: onnxruntime, no torch. `docker build -t muserve .`
# deploy/README.md says how it is run. Behind a package mirror, hand pip its configuration for the build alone:
#   docker build --secret id=pip_conf,src=$HOME/.config/pip/pip.conf -t muserve .
# Any Debian-like image with Python 3.11+, pip and venv can be the base; both stages take the same one.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY . .
# The venv gets no pip of its own: the base's pip fills it from outside.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python3 -m pip wheel --no-deps --wheel-dir /wheel ./clients/python ./server ./models \
    && python3 -m venv --without-pip /opt/muserve \
    && python3 -m pip --python /opt/muserve/bin/python install --no-compile -c constraints.txt \
    /wheel/muserve-*.whl /wheel/muserve_models-*.whl "muserve-server[cpu,envoy] @ file://$(echo /wheel/muserve_server-*.whl)"
# What the server never imports. Then bytecode, checked neither against time nor source: the image never changes.
RUN cd /opt/muserve/lib/python3*/site-packages \
    && rm -rf onnxruntime/transformers onnxruntime/quantization onnxruntime/tools onnxruntime/datasets \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -name '*.pyi' -delete \
    && /opt/muserve/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/muserve/lib

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="muserve" \
    org.opencontainers.image.description="Serves small trained generators over gRPC, gRPC-Web and JSON." \
    org.opencontainers.image.licenses="Apache-2.0 AND GFDL-1.1-or-later" \
    org.opencontainers.image.version="${VERSION}"
# Envoy runs the server inside itself, by libpython: python.org's images have it, Debian's own Python does not.
RUN ls /usr/local/lib/libpython3.*.so > /dev/null 2>&1 \
    || { apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libpython3.$(python3 -c 'import sys; print(sys.version_info.minor)') \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*; }
COPY --from=builder /opt/muserve /opt/muserve
# It writes nothing but two small files for Envoy, in /tmp or /dev/shm: the root file system may be read-only. Every setting of `muserve-server --help` can be set as
# MUSERVE_CONFIG_<NAME>; models of your own: mount them and set MUSERVE_CONFIG_MODELS. onnxruntime 1.29 and later
# report usage to their maker unless told not to.
ENV PATH=/opt/muserve/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MUSERVE_CONFIG_HOST=0.0.0.0
# As a number, so that Kubernetes can see that it is not root.
USER 10001:10001
# gRPC, gRPC-Web and JSON; metrics and health over HTTP.
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
# Set other ports by environment, not by flag: this check reads the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "\
import os, urllib.request; \
urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('MUSERVE_CONFIG_HTTP_PORT', '8002') + '/readyz')"]
ENTRYPOINT ["muserve-server"]
