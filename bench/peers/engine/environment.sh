#!/bin/sh
# Makes the Python environments of the engines that are compared with thrum's, and the models.
#
#     bench/peers/engine/environment.sh DIR
#
# DIR receives DIR/engines (1 GB), DIR/torch (7 GB, the environment of bench/realmodels), DIR/trees
# (1 GB, that of bench/peers/trees) and DIR/models (1 GB); what is there already is used again. The
# models take some minutes, and the first run of the trees a quarter of an hour more: tl2cgen compiles.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: environment.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# environment makes the environment of a name with the packages of some lists.
environment() {
	name=$1
	shift
	[ ! -e "$dir/$name/installed" ] || return 0
	echo "$name: installing into $dir/$name" >&2
	python3 -m venv "$dir/$name"
	for list; do
		"$dir/$name/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$list"
	done
	touch "$dir/$name/installed"
}

environment engines "$here/requirements.txt"
environment torch "$here/../../realmodels/requirements.txt" "$here/requirements-models.txt"
environment trees "$here/../trees/requirements.txt"
if [ ! -e "$dir/models/made" ]; then
	"$dir/torch/bin/python" "$here/models.py" "$dir/models"
	touch "$dir/models/made"
fi
