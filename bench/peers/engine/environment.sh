#!/bin/sh
# Makes the Python environments of the engines that are compared with thrum's, and the models.
#
#     bench/peers/engine/environment.sh DIR
#
# DIR receives DIR/engines (1 GB), DIR/torch (7 GB, the environment of bench/realmodels), DIR/trees
# (1 GB, that of bench/peers/trees) and DIR/models (700 MB); what is there already is used again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: environment.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

environment() {
	[ ! -e "$dir/$1/installed" ] || return 0
	echo "$1: installing into $dir/$1" >&2
	python3 -m venv "$dir/$1"
	"$dir/$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2"
	touch "$dir/$1/installed"
}

environment engines "$here/requirements.txt"
environment torch "$here/../../realmodels/requirements.txt"
environment trees "$here/../trees/requirements.txt"
"$dir/torch/bin/python" "$here/models.py" "$dir/models"
