#!/usr/bin/env bash
# Installs what building and running Landfall needs from Debian's packages (12 and 13), and nothing that is there.
#
#   deps.sh [--tests] [--kafka] [--sample] [--fuzz]
#
# --tests   what the tests need besides: MQTT and Kafka clients, virtual environments for Python, the formatter
# --kafka   Java and Maven, for the Kafka broker that tests and demo start
# --sample  npm, which fetches the sample data
# --fuzz    clang with libFuzzer
# Quiet when nothing is missing. Runs as root, or as a user who may sudo.
set -euo pipefail
export LC_ALL=C.UTF-8

wanted=(
  ca-certificates g++ cmake ninja-build ccache pkg-config
  capnproto libcapnp-dev librocksdb-dev libssl-dev libzstd-dev libroaring-dev
  libuv1-dev librdkafka-dev libmosquitto-dev mosquitto-dev mosquitto
  libcpp-httplib-dev libtomlplusplus-dev libcli11-dev nlohmann-json3-dev libyaml-cpp-dev libspdlog-dev prometheus-cpp-dev
  libgtest-dev python3
)
# clang-format 14 formats the tree; later versions differ in small things, so where it is missing nothing is checked.
optional=()
for option in "$@"; do
  case $option in
    --tests) wanted+=(mosquitto-clients kcat python3-venv) optional+=(clang-format-14) ;;
    --kafka)
      wanted+=(kcat)
      command -v java >/dev/null || wanted+=(default-jre-headless)
      command -v mvn >/dev/null || wanted+=(maven)
      ;;
    --sample) command -v npm >/dev/null || wanted+=(npm) ;;
    --fuzz) optional+=(clang-14) ;;
    *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
  esac
done

installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^ii *//p')
missing_of() { printf '%s\n' "$@" | sort -u | grep -vxF -f <(printf '%s\n' "$installed") || true; }
mapfile -t missing < <(missing_of "${wanted[@]}")
mapfile -t missing_optional < <([[ ${#optional[@]} == 0 ]] || missing_of "${optional[@]}")
((${#missing[@]} + ${#missing_optional[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "deps: missing packages, and no sudo to install them with. As root:" >&2
    echo "  apt-get install --no-install-recommends ${missing[*]} ${missing_optional[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -qq -o Acquire::Retries=3 \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"
}
quietly() { # quietly COMMAND: its output only if it fails
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# A bare machine has no package lists, one with stale lists fails to download: refresh, then try again.
refresh() {
  refreshed=1
  quietly apt update || { echo "deps: apt-get update failed; is the network there?" >&2; exit 1; }
}
refreshed=
[[ -n $(find /var/lib/apt/lists -name '*_Packages*' -print -quit 2>/dev/null) ]] || refresh
for name in "${missing_optional[@]}"; do
  if apt-cache show --no-all-versions "$name" >/dev/null 2>&1; then missing+=("$name"); fi
done
((${#missing[@]})) || exit 0

echo "deps: installing ${#missing[@]} packages and what they need: ${missing[*]}" >&2
if ! quietly apt install --no-install-recommends -y "${missing[@]}"; then
  [[ -z $refreshed ]] || exit 1
  echo "deps: trying once more with fresh package lists" >&2
  refresh
  quietly apt install --no-install-recommends -y "${missing[@]}"
fi
echo "deps: done after $SECONDS s" >&2
