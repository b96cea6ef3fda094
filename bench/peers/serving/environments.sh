#!/bin/sh
# Makes the Python environments of the peers, each of its own, from exact versions.
#
#     bench/peers/serving/environments.sh DIR [NAME...]
#
# DIR receives DIR/NAME for mlserver, bentoml, litserve, triton, torchserve and witness, or for the
# NAMEs given; what is there already is used again. One that cannot be made is said and left out:
# the comparison goes on without it. Together they take 8 GB, of which torchserve alone takes 5.5.
set -u
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: environments.sh DIR [NAME...]}
shift
[ $# -gt 0 ] || set -- mlserver bentoml litserve triton torchserve witness
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# Triton's model process is linked with the system's own libpython and needs that one's library.
python() {
	if [ "$1" = triton ] && [ -x /usr/bin/python3 ]; then echo /usr/bin/python3; else echo python3; fi
}

# perf_analyzer is linked with libb64, which no Python package has; no root is needed to unpack it.
libb64() {
	[ "$1" = witness ] && [ ! -e "$dir/witness/lib/libb64.so.0d" ] || return 0
	(cd "$dir/witness" && apt-get download -q libb64-0d && dpkg -x libb64-0d_*.deb deb && cp deb/usr/lib/*/libb64.so.0d lib/)
}

for name; do
	[ ! -e "$dir/$name/installed" ] || continue
	echo "$name: installing into $dir/$name" >&2
	if "$(python "$name")" -m venv "$dir/$name" >"$dir/$name.log" 2>&1 &&
		"$dir/$name/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$here/requirements-$name.txt" >>"$dir/$name.log" 2>&1 &&
		libb64 "$name" >>"$dir/$name.log" 2>&1; then
		touch "$dir/$name/installed"
	else
		echo "$name does not install and is left out: $(tail -1 "$dir/$name.log")" >&2
		[ "$name" = witness ] || rm -rf "${dir:?}/$name"
	fi
done
