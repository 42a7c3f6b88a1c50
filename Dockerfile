# Two stages: build with the toolchain, run on slim Debian as a user without rights. Needs BuildKit (Docker 23 and later).
#   docker build -t qingniao .
#   docker run -d --init -p 7001:7001 -v qingniao-data:/srv/qingniao/data -v qingniao-uploads:/srv/qingniao/public/uploads qingniao

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The registry and the compiled dependencies stay in BuildKit's caches: after a change of our own code only our own code
# is compiled again. What the caches hold is not part of the image, so the binary is copied out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/qingniao /usr/local/bin/qingniao

FROM debian:bookworm-slim
# ffmpeg makes the covers of videos (getVideoScreenshot); curl asks after the server's health.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /srv/qingniao --shell /usr/sbin/nologin qingniao \
    && install -d -o qingniao -g qingniao /srv/qingniao /srv/qingniao/data /srv/qingniao/public /srv/qingniao/public/uploads
COPY --from=build /usr/local/bin/qingniao /usr/local/bin/qingniao
WORKDIR /srv/qingniao
USER qingniao
# The server's own defaults: SQLite and the token secret in data/, uploads in public/uploads/, port 7001.
VOLUME ["/srv/qingniao/data", "/srv/qingniao/public/uploads"]
EXPOSE 7001
# 200 only while the database answers and the server does not stop. /metrics is at the same address, inside the container only:
# to have it scraped from outside, set QINGNIAO_OPERATIONS_ADDRESS=0.0.0.0:7002 and let nobody else reach that port.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:7002/readyz"]
ENTRYPOINT ["qingniao"]
CMD ["serve"]
