# isantarget in a container: one static binary, nothing else.
#
#   docker build -t isantarget .
#   docker run -d -p 3260:3260 -v san:/data -e ISANTARGET_ACCESS=open isantarget
#
# serves a sparse disk of 10 GiB, kept in the volume, to everybody who reaches
# the port. Without ISANTARGET_ACCESS=open a target admits nobody from outside
# the container, and the log says so. What else is served, by variables:
#
#   ISANTARGET_LUN="db=/data/db.img,size=20GiB ram=,kind=memory,size=1GiB"
#   ISANTARGET_TARGET=iqn.2026-11.org.example:test
#   ISANTARGET_CHAP=user:/run/secrets/chap     (readable by user 65532 alone: mode 0400)
#
# or by a file: docker run ... -v ./san.toml:/etc/isantarget.toml:ro isantarget serve --config /etc/isantarget.toml
#
# Initiators are asked to log out when the container stops; give them the time
# that is configured (10 s) and the disks theirs: docker stop --time 30.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /image/isantarget ./cmd/isantarget \
 && mkdir -m 0700 /image/data \
 && chown 65532:65532 /image/data

FROM scratch
COPY --from=build /image/isantarget /isantarget
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 3260
HEALTHCHECK --interval=30s --timeout=6s --start-period=10s CMD ["/isantarget", "healthcheck"]
ENTRYPOINT ["/isantarget"]
CMD ["serve", "--state", "/data", "--portal", ":3260"]
