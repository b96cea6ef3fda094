#!/bin/sh
# Fetches uPlot from npm, and fails unless it is the very package whose files are kept here.
set -eu
version=1.6.32
sha512=KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm pack --silent "uplot@$version" >/dev/null
test "$(openssl dgst -sha512 -binary "uplot-$version.tgz" | base64 -w0)" = "$sha512" || { echo "uplot@$version is another package than before" >&2; exit 1; }
tar -xzf "uplot-$version.tgz"
cp package/dist/uPlot.iife.min.js package/dist/uPlot.min.css package/LICENSE "$here"
cd "$here"
sha256sum -c SHA256SUMS
