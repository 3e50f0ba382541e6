# The log server and the client in one small image.
#
#   docker build --tag treering .
#   docker run --rm --volume treering:/var/lib/treering treering \
#     init --data /var/lib/treering/log --url https://log.example
#   docker run --volume treering:/var/lib/treering --publish 3000:3000 treering
#
# The one volume holds the log and its anchor, /var/lib/treering/log.anchor. Writes stay closed
# unless the command says otherwise.

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
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm --recursive --force /var/lib/apt/lists/*
# The number is spelled out so that orchestrators can see that this is not root.
RUN groupadd --gid 10001 treering \
    && useradd --uid 10001 --gid treering --no-create-home --home-dir /var/lib/treering \
        --shell /usr/sbin/nologin treering \
    && install --directory --owner treering --group treering --mode 0700 /var/lib/treering
COPY --from=build /src/target/release/treering-server /src/target/release/treering /usr/local/bin/
COPY LICENSE /usr/share/doc/treering/
USER 10001:10001
VOLUME /var/lib/treering
EXPOSE 3000
STOPSIGNAL SIGTERM
ENTRYPOINT ["treering-server"]
CMD ["serve", "--data", "/var/lib/treering/log", "--listen", "0.0.0.0:3000"]
