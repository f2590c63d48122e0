#!/usr/bin/env bash
# Formats every C++ file with clang-format 14; with --check it only names the files that are not formatted (exit 1).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v clang-format-14 >/dev/null || { echo "format: clang-format-14 is not here: tools/dev/deps.sh --tests" >&2; exit 2; }
mapfile -t files < <(find schemas crdt eventlog devicetwin cloudsync edgeruntime tools tests \( -name '*.cc' -o -name '*.h' \) | sort)
if [[ ${1:-} != --check ]]; then
  exec clang-format-14 -i "${files[@]}"
fi
wrong=0
for file in "${files[@]}"; do
  clang-format-14 "$file" | cmp -s - "$file" || { echo "$file: tools/dev/format.sh would change it"; wrong=1; }
done
exit $wrong
