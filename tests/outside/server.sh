# Sourced by the scripts beside it: a server of the built binary, in a folder and on a port of its own, until the script ends.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
BINARY=${BINARY:-$TARGET/debug/qingniao}
TOOLS=$TARGET/outside
FOLDER=$(mktemp -d /tmp/qingniao-outside.XXXXXX)
SERVER=
for name in DATABASE_URL RUST_LOG $(compgen -e QINGNIAO_); do unset "$name"; done

end_server() {
  if [ -n "$SERVER" ]; then
    kill "$SERVER" 2>/dev/null || true
    wait "$SERVER" 2>/dev/null || true
  fi
  rm -rf "$FOLDER"
}
trap end_server EXIT

# Sets BASE_URL.
start_server() {
  (cd "$FOLDER" && QINGNIAO_LISTEN=127.0.0.1:0 QINGNIAO_OPERATIONS_ADDRESS= QINGNIAO_PASSWORDS_MEMORY_KIB=8 QINGNIAO_PASSWORDS_ITERATIONS=1 exec "$BINARY") \
    >/dev/null 2>"$FOLDER/log" </dev/null &
  SERVER=$!
  for _ in $(seq 100); do
    BASE_URL=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$FOLDER/log")
    [ -z "$BASE_URL" ] || return 0
    kill -0 "$SERVER" 2>/dev/null || break
    sleep 0.1
  done
  cat "$FOLDER/log" >&2
  echo "the server did not start" >&2
  return 1
}
