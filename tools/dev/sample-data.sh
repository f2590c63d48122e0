#!/usr/bin/env bash
# Prints the path of the sample data: 116,000 NMEA 0183 sentences of a real voyage, one a line.
#
# They come from samples/plaka.log of the npm package signalk-server 2.23.0 (Apache-2.0). A copy in
# ../shared/data beside the checkout is taken where there is one, else the package is fetched once into the cache.
set -euo pipefail
export LC_ALL=C.UTF-8

package=signalk-server@2.23.0
package_sha512=bcdc93f97e9540395abed396a162f6f9885f4f49bcbc6cacab5c394556746e35b0bb20e42d142ff4d363437e091e30339d052c6ec9bdf725eaa780ae9f3c3842
data_sha256=b05deb64458757ac6484f9887c0f2869a88dc20f8964cb33c6d4226e53219666

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LANDFALL_CACHE:-$HOME/.cache/landfall}
sum() { [[ -f $1 && $(sha256sum <"$1") == "$data_sha256  -" ]]; }
for file in "$here/../../../shared/data/nmea0183-raw.txt" "$cache/nmea0183-raw.txt"; do
  if sum "$file"; then realpath "$file"; exit 0; fi
done

"$here/deps.sh" --sample
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "sample data: fetching $package" >&2
(cd "$work" && npm pack --silent "$package" >/dev/null)
tarball=("$work"/*.tgz)
if [[ $(sha512sum <"${tarball[0]}") != "$package_sha512  -" ]]; then
  echo "sample data: $package is not the package that was pinned here; not used" >&2
  exit 1
fi
tar -xzOf "${tarball[0]}" package/samples/plaka.log | tr -d '\r' | grep . >"$work/data"
if ! sum "$work/data"; then
  echo "sample data: what was extracted from $package does not have the expected checksum" >&2
  exit 1
fi
mkdir -p "$cache"
mv "$work/data" "$cache/nmea0183-raw.txt"
echo "$cache/nmea0183-raw.txt"
