# The log server and the client in one small image.
#
#   docker build --tag treering .
#   docker run --rm --volume treering:/var/lib/treering treering init --url https://log.example
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges \
#     --volume treering:/var/lib/treering --publish 127.0.0.1:3000:3000 \
#     --env TREERING_PLAIN_HTTP=true treering
#
# In a container the server listens on every address. Without TLS (TREERING_TLS_CERTIFICATE and
# TREERING_TLS_KEY) that must be said by name, as above, for a proxy in front of it that has TLS.
# The one volume holds the log and its anchor, /var/lib/treering/log.anchor; nothing else is written,
# so the root file system may be read-only. Writes stay closed unless the command says otherwise.
# A container that is stopped must get the time to drain: `docker stop --time 30`.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ clang libclang-dev pkg-config \
    && rm --recursive --force /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Most of the 15 to 25 minutes that this takes goes into RocksDB.
RUN cargo build --release --locked --workspace

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates jq libstdc++6 \
    && rm --recursive --force /var/lib/apt/lists/*
# The number is spelled out so that orchestrators can see that this is not root.
RUN groupadd --gid 10001 treering \
    && useradd --uid 10001 --gid treering --no-create-home --home-dir /var/lib/treering \
        --shell /usr/sbin/nologin treering \
    && install --directory --owner treering --group treering --mode 0700 /var/lib/treering
COPY --from=build /src/target/release/treering-server /src/target/release/treering /usr/local/bin/
# For jobs that sign (deploy/gitlab).
COPY deploy/ci/sign-and-log /usr/local/bin/treering-sign-and-log
COPY LICENSE /usr/share/doc/treering/
USER 10001:10001
ENV TREERING_DATA=/var/lib/treering/log TREERING_LISTEN=0.0.0.0:3000
VOLUME /var/lib/treering
EXPOSE 3000
STOPSIGNAL SIGTERM
# Alive, not ready: a latched log needs a person, and starting it again makes nothing better. Set
# TREERING_HEALTH_URL when the server speaks TLS (`treering-server health --help`).
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s --retries=3 \
    CMD ["treering-server", "health"]
ENTRYPOINT ["treering-server"]
CMD ["serve"]
