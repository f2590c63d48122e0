#!/usr/bin/env bash
# Proves this tree: installs what is missing, builds with ASan and UBSan, runs every test. The last lines are ctest's.
#
#   check.sh [PRESET]     dev (default), release or tsan
set -euo pipefail
export LC_ALL=C.UTF-8

preset=${1:-dev}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
step() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }

step "packages"
tools/dev/deps.sh --tests --kafka
step "Kafka for the tests, sample data"
tools/dev/kafka/broker.sh fetch
tools/dev/sample-data.sh
step "configure, preset $preset"
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
cmake --preset "$preset" | tail -n 3
step "build"
NINJA_STATUS='[%f/%t, %e s] ' cmake --build --preset "$preset" | awk '/FAILED/ { all = 1 } all || /warning:/ || NR % 25 == 0 { print; fflush() }'
step "tests"
exec ctest --preset "$preset"
