# syntax=docker/dockerfile:1

# Oncegate in an empty image: one static binary, and the authorities that the upstream's certificate may
# be signed by.
#
#   docker build -t oncegate .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example/oncegate:0.1.0 --push .
#
#   docker run --read-only -p 8080:8080 -e ONCEGATE_UPSTREAM=http://api.example:3000 oncegate

ARG RUST_VERSION=1.95

# It runs where the build runs, and compiles for where the image will run: no emulation.
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-bookworm AS build
ARG BUILDARCH
ARG TARGETARCH
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src

# What the architecture is called by Rust and by GNU. Two libraries are compiled from C.
# hadolint ignore=DL3008
RUN case "$TARGETARCH" in \
        amd64) gnu=x86_64-linux-gnu rust=x86_64-unknown-linux-gnu debian=x86-64-linux-gnu ;; \
        arm64) gnu=aarch64-linux-gnu rust=aarch64-unknown-linux-gnu debian=aarch64-linux-gnu ;; \
        *) echo "There is no image for $TARGETARCH." >&2; exit 1 ;; \
    esac; \
    packages=(ca-certificates gcc libc6-dev); \
    [ "$BUILDARCH" = "$TARGETARCH" ] || packages+=("gcc-$debian" "libc6-dev-$TARGETARCH-cross"); \
    apt-get update -qq; \
    apt-get install -y -qq --no-install-recommends "${packages[@]}"; \
    rm -rf /var/lib/apt/lists/*; \
    rustup target add "$rust"; \
    variable=${rust//-/_}; \
    { \
        echo "export CARGO_BUILD_TARGET=$rust"; \
        echo "export CARGO_TARGET_${variable^^}_LINKER=$gnu-gcc CC_$variable=$gnu-gcc"; \
        # With the target written out, these flags do not reach build scripts.
        echo "export RUSTFLAGS='-C target-feature=+crt-static'"; \
    } >/etc/oncegate-target

# The dependencies are a layer of their own, which a change of our source leaves as it is.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src; \
    echo 'fn main() {}' >src/main.rs; \
    touch src/lib.rs; \
    source /etc/oncegate-target; \
    cargo build --release --locked --bin oncegate

COPY src src
# The files' times may be from before the layer above.
RUN touch src/main.rs src/lib.rs; \
    source /etc/oncegate-target; \
    cargo build --release --locked --bin oncegate; \
    mkdir -p /image/etc/ssl/certs /image/var/lib/oncegate; \
    cp "target/$CARGO_BUILD_TARGET/release/oncegate" /image/oncegate; \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/; \
    echo 'oncegate:x:65532:65532::/:' >/image/etc/passwd; \
    chown 65532:65532 /image/var/lib/oncegate

COPY LICENSE-APACHE LICENSE-MIT /image/licenses/

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Oncegate" \
      org.opencontainers.image.description="A sidecar HTTP reverse proxy that makes any API idempotent" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /image /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# No huge pages, even where the kernel gives them always: idle, it takes 10 MB instead of 23 MB.
ENV MIMALLOC_ALLOW_THP=0
# A number, so that Kubernetes sees that it is not root.
USER 65532:65532
EXPOSE 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/oncegate", "health"]
ENTRYPOINT ["/oncegate"]
CMD ["run"]
