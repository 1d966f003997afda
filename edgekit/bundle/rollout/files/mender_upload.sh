#!/bin/sh
# Upload a Mender artifact and deploy it to a group of devices.
#
#   MENDER_TOKEN=... [MENDER_SERVER=https://hosted.mender.io] sh upload.sh BUNDLE GROUP
#
# MENDER_TOKEN is a personal access token of the server's user. Begin with a small group, such as canaries.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -ne 2 ] || [ ! -f "$1" ] || [ -z "${MENDER_TOKEN:-}" ]; then
  echo "usage: MENDER_TOKEN=... [MENDER_SERVER=URL] sh upload.sh BUNDLE GROUP" >&2
  exit 2
fi
api=${MENDER_SERVER:-https://hosted.mender.io}/api/management/v1/deployments

# the token goes through a pipe: what is on a command line can be read by every user of this machine
ask() {
  printf 'header = "Authorization: Bearer %s"\n' "$MENDER_TOKEN" | curl --config - --silent --show-error \
    --output "$answer" --write-out '%{http_code}' "$@"
}
check() {
  case $1 in
    2??) ;;
    409) echo "$2: it is there already; go on, or raise the version." >&2; [ "$2" = upload ] || exit 1 ;;
    *) echo "$2: the server answered $1: $(cat "$answer")" >&2; exit 1 ;;
  esac
}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
check "$(ask --form "artifact=@$1" "$api/artifacts")" upload
check "$(ask --header 'Content-Type: application/json' --data "@$here/deployment.json" \
  "$api/deployments/group/$2")" deployment
echo "deployed to the group $2"
