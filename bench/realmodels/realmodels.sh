#!/bin/sh
# Makes models of the kinds that people serve and checks that thrum answers them as ONNX Runtime does.
#
#     bench/realmodels/realmodels.sh [DIR]
#
# DIR, by default a new temporary folder, receives a Python environment (some 7 GB: torch), the
# models, some of them by npm, and the thrum binary; what is there already is used again. Exits 1 on a difference.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
python=$dir/venv/bin/python

if [ ! -e "$dir/venv/installed" ]; then
	python3 -m venv "$dir/venv"
	"$python" -m pip install --quiet --requirement "$here/requirements.txt"
	touch "$dir/venv/installed"
fi
if [ ! -e "$dir/made" ]; then
	"$python" "$here/make.py" "$dir/models"
	touch "$dir/made"
fi
if [ ! -e "$dir/published" ]; then
	"$python" "$here/published.py" "$dir/models"
	touch "$dir/published"
fi
if [ ! -e "$dir/quantized" ]; then
	"$python" "$here/quantized.py" "$dir/models"
	touch "$dir/quantized"
fi
(cd "$here/../.." && go build -o "$dir/thrum" .)
exec "$python" "$here/check.py" "$dir/thrum" "$dir/models"
