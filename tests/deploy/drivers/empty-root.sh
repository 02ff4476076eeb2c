#!/usr/bin/env bash
# Runs a program as it runs in the image: in a root that holds nothing else, that can't be written
# to, and by a user who may do nothing. Says what came of it, line by line.
#
#   unshare --mount --net --pid --mount-proc --fork --kill-child empty-root.sh ONCEGATE FOLDER
#
# The libraries of a program that has any are put there, too; those of the image have none.
set -euo pipefail
program=$1 root=$2
ip link set lo up
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"

# Shows a file of this system at its own place, or at another one.
show() {
    mkdir -p "$(dirname "$root/${2:-$1}")"
    touch "$root/${2:-$1}"
    mount --bind "$1" "$root/${2:-$1}"
}
show "$program" oncegate
# A static program makes ldd fail.
{ ldd "$program" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
    show "$library"
done
# As container runtimes do.
for device in null random urandom; do
    show "/dev/$device"
done
mkdir -p "$root/etc" "$root/var/lib/oncegate"
echo '127.0.0.1 localhost api.example' >"$root/etc/hosts"
echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
# A volume for the records, and nothing else that can be written to.
as=()
# Where this user stands for root, there are no others.
if [ "$(awk '{ print $3 }' /proc/self/uid_map)" -gt 65532 ]; then
    as=(--userspec=65532:65532 --groups=)
fi
mount -t tmpfs -o mode=700 tmpfs "$root/var/lib/oncegate"
[ "${#as[@]}" -eq 0 ] || chown 65532:65532 "$root/var/lib/oncegate"
mount -o remount,bind,ro "$root"
inside() { chroot "${as[@]}" "$root" /oncegate "$@"; }

python3 -u -c '
import http.server
class Api(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Api.count += 1
        body = b"execution %d" % Api.count
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *ignored): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Api).serve_forever()
' &
for _ in $(seq 300); do
    if (: </dev/tcp/127.0.0.1/3000) 2>/dev/null; then break; fi
    sleep 0.1
done

export ONCEGATE_UPSTREAM=http://api.example:3000 ONCEGATE_STORE=file:///var/lib/oncegate/records
(exec chroot "${as[@]}" "$root" /oncegate run 2>"$root.log" >/dev/null) &
running=$!
for _ in $(seq 300); do
    if inside health 2>/dev/null; then
        echo "healthy"
        break
    fi
    kill -0 "$running" || break
    sleep 0.1
done
for attempt in first second; do
    curl -sS -X POST -d amount=10 -H 'Idempotency-Key: k' -o /dev/fd/3 -D /dev/fd/4 \
        http://127.0.0.1:8080/charges 3>"$root.body" 4>"$root.head"
    echo "$attempt: $(cat "$root.body")$(grep -i '^duplicate-request' "$root.head" | tr -d '\r' | sed 's/^/, /')"
done
grep -E '^(Uid|CapEff):' "/proc/$running/status" | tr -s '\t ' ' '
inside drain --timeout 20s --settle 100ms && echo "drained"
kill -TERM "$running"
wait "$running" && echo "ended well"
cat "$root.log" >&2
