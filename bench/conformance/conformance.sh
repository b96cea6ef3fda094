#!/bin/sh
# Runs the node cases of the onnx package through the importer and the cpu backend, and prints how
# many pass, are refused, give a wrong answer or crash.
#
#     bench/conformance/conformance.sh [DIR]
#
# DIR, by default a new temporary folder, receives a Python environment and the cases; what is
# there already is used again. Exits 1 on a wrong answer, on a crash, and below the target.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

if [ ! -e "$dir/venv/installed" ]; then
	python3 -m venv "$dir/venv"
	"$dir/venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
	touch "$dir/venv/installed"
fi
if [ ! -e "$dir/cases.jsonl.gz" ]; then
	"$dir/venv/bin/python" "$here/cases.py" "$dir/new.jsonl.gz"
	mv "$dir/new.jsonl.gz" "$dir/cases.jsonl.gz"
fi
rm -f "$dir/table.txt"
status=0
(cd "$here/../.." && go test ./backends/cpu -count=1 -timeout 20m -run '^TestConformance$' -cases "$dir/cases.jsonl.gz" -table "$dir/table.txt") >"$dir/log.txt" 2>&1 || status=$?
if [ ! -s "$dir/table.txt" ]; then
	echo "the run ended before its end:" >&2
	tail -40 "$dir/log.txt" >&2
	exit 1
fi
cat "$dir/table.txt"
[ "$status" -eq 0 ] || grep -E '^ +(--- FAIL|conformance_test)' "$dir/log.txt" >&2
exit "$status"
