# One image: the gristmill binary and its SmartModules, built from source.
FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown \
 && apt-get update && apt-get install -y --no-install-recommends libssl-dev pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --features kafka-tls \
 && cp target/release/gristmill /usr/local/bin/gristmill \
 && mkdir -p /out/smartmodules \
 && for module in smartmodules/*/SmartModule.toml; do \
      name=$(basename "$(dirname "$module")"); \
      gristmill smartmodule build "$name" --output "/out/smartmodules/$name.wasm" || exit 1; \
    done

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/gristmill gristmill
COPY --from=build /usr/local/bin/gristmill /usr/local/bin/gristmill
COPY --from=build /out/smartmodules /usr/local/share/gristmill/smartmodules
COPY pipeline.yaml /etc/gristmill/pipeline.yaml
USER gristmill
WORKDIR /var/lib/gristmill
ENV GRISTMILL_SMARTMODULES=/usr/local/share/gristmill/smartmodules
ENTRYPOINT ["gristmill"]
CMD ["up", "--file=/etc/gristmill/pipeline.yaml"]
