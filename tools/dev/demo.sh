#!/usr/bin/env bash
# Shows Landfall at work on this machine: installs what is missing, builds, runs a voyage, and ends by itself.
#
#   demo.sh [--kafka] [--json FILE] [--lines N]
#
# --kafka      the hub's log is a real Kafka broker, fetched once, and the counts are what kcat reads in its topics
# --json FILE  the summary for programs
# --lines N    how much of the ship's log is published (default: all 116,000 sentences)
# Exit status: 0 where every count agrees to the event, 1 otherwise.
set -euo pipefail
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
options=()
kafka=
while (($#)); do
  case $1 in
    --kafka) kafka=--kafka; options+=(--kafka); shift ;;
    --json) options+=(--json "$(realpath -m "${2:?--json needs a file}")"); shift 2 ;;
    --lines) options+=(--lines "${2:?--lines needs a number}"); shift 2 ;;
    *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
  esac
done

# shellcheck disable=SC2086
"$here/deps.sh" $kafka
[[ -z $kafka ]] || "$here/kafka/broker.sh" fetch >/dev/null
sample=$("$here/sample-data.sh")

cd "$here/../.."
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
log=build/release/demo-build.log
mkdir -p build/release
echo "building (its output: $log)"
if ! { cmake --preset release && cmake --build --preset release --target landfall landfall_mosquitto; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  exit 1
fi
echo "built after $SECONDS s"
exec python3 "$here/demo.py" --build build/release --sample "$sample" "${options[@]}"
