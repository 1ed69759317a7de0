# syntax=docker/dockerfile:1

FROM rust:1.95-slim-trixie AS build
WORKDIR /src

# The allocator is built by make.
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*

COPY Cargo.toml Cargo.lock ./
COPY .cargo ./.cargo
# Cargo wants to see the benchmarks that the manifest names.
COPY benches ./benches
COPY crates ./crates
COPY src ./src
# What was built before is kept outside of the image. Cargo goes by modification times, and copied files can be older.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
 find crates src -name '*.rs' -exec touch {} + \
 && cargo build --profile dist --locked --bin homing \
 && cp target/dist/homing /usr/local/bin/homing


FROM debian:trixie-slim

# Endpoints are called over TLS, which needs the certificate authorities.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/homing --create-home --shell /usr/sbin/nologin homing

COPY --from=build /usr/local/bin/homing /usr/local/bin/homing

USER homing
# homing.toml is read from here, and the SQLite store is kept here.
WORKDIR /var/lib/homing
VOLUME /var/lib/homing
EXPOSE 8080
# Whatever its role, homing needs the broker and the store.
HEALTHCHECK --interval=30s --timeout=25s --start-period=30s --retries=3 CMD ["homing", "status"]
ENTRYPOINT ["homing"]
CMD ["run"]
