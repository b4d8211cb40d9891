# One image with FreeRADIUS, radmeter's plugin and radmeter itself. docker-compose.yml runs it with several commands.
FROM debian:12-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY locks locks
COPY src src
COPY sql sql
COPY radius radius
# Every file that comes from a package index has a hash in locks/. There is no embedded PostgreSQL, because containers use a
# PostgreSQL server.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement locks/build.txt \
    && /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /opt/build/wheel . \
    && python3 -m venv /opt/radmeter \
    && /opt/radmeter/bin/pip install --no-cache-dir --require-hashes --requirement locks/docker.txt \
    && /opt/radmeter/bin/pip install --no-cache-dir --no-index --no-deps /opt/build/wheel/*.whl

FROM debian:12-slim
# python3 is the same Python 3.11 that this FreeRADIUS embeds.
RUN apt-get update \
    && apt-get install -y --no-install-recommends freeradius freeradius-postgresql freeradius-python3 freeradius-utils \
        python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/radmeter /opt/radmeter
# The plugin writes the journal and the shipper deletes from it, so both have one user. A new volume gets the owner of the
# directory that it covers. The other services have users without a name (docker-compose.yml).
RUN groupadd --gid 10001 radmeter \
    && useradd --uid 10001 --gid radmeter --no-create-home --shell /usr/sbin/nologin radmeter \
    && install -d -o radmeter -g radmeter -m 0750 /var/lib/radmeter /var/lib/radmeter/run \
    && ln -s /opt/radmeter/lib/python3*/site-packages /opt/radmeter/site-packages \
    && cp -r /opt/radmeter/site-packages/radmeter/radius /etc/radmeter \
    && cat /etc/radmeter/clients.container.conf >>/etc/radmeter/clients.conf
ENV PATH=/opt/radmeter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RADMETER_STATE=/var/lib/radmeter \
    RADMETER_RUN=/var/lib/radmeter/run \
    RADMETER_PYTHON_PATH=/opt/radmeter/site-packages
USER radmeter
WORKDIR /
CMD ["radmeter", "--help"]
