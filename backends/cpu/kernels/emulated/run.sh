#!/bin/sh
# Runs a test program of package kernels, or of any package, on an emulated processor with AMX:
#
#	emulated/run.sh BOCHS KERNEL [ARGUMENT...]
#
# BOCHS is the program bochs (https://bochs.sourceforge.io), built without a display ("nogui"), with
# x86-64, AVX, EVEX and AMX. KERNEL is an image of Linux from 5.16 on, such as vmlinuz of Debian's
# package linux-image-cloud-amd64. The arguments go to the test program: -test.run=Tile -test.v.
#
# The machine's ROMs are looked for where Debian's packages bochsbios and vgabios or Bochs itself
# put them, the boot loader where Debian's packages isolinux and syslinux-common do. Elsewhere:
#	BIOS, VGABIOS    the ROMs
#	ISOLINUX, LDLINUX   isolinux.bin and ldlinux.c32
#	MODEL            the emulated processor: sapphire_rapids
#	IPS              instructions in a second of the emulated clock: fewer mean that threads are
#	                 interrupted more often
#	TEST             a test program that has been built: that of package kernels
#	FILES            a folder of what the test program finds where it runs: nothing
#
# Bochs up to 3.0 falls short of what Linux and the tests need: Linux gives no tiles to a processor
# that lacks XFD (CPUID leaf 13, MSRs 0x1c4 and 0x1c5, #NM at the first use of a tile); XSAVE has to
# keep all 16 rows of a tile, its sizes in their places, and to see that tiles are in use; and signed
# bytes have to be signed. Where XFD is missing, tests say that there is no level amx; where
# something else is, they fail.
set -eu

if [ $# -lt 2 ]; then
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
	exit 2
fi
bochs=$1 kernel=$2
shift 2

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root disk=$work/disk
mkdir -p "$root" "$disk"

first() {
	for file; do
		if [ -e "$file" ]; then
			echo "$file"
			return
		fi
	done
	echo "run.sh: none of $* is there" >&2
	exit 1
}
bios=$(first ${BIOS:-/usr/local/share/bochs/BIOS-bochs-latest /usr/share/bochs/BIOS-bochs-latest})
vgabios=$(first ${VGABIOS:-/usr/local/share/bochs/VGABIOS-lgpl-latest.bin /usr/share/vgabios/vgabios.bin})
isolinux=$(first ${ISOLINUX:-/usr/lib/ISOLINUX/isolinux.bin})
ldlinux=$(first ${LDLINUX:-/usr/lib/syslinux/modules/bios/ldlinux.c32})

(cd "$here" && CGO_ENABLED=0 go build -o "$root/init" .)
if [ -n "${TEST:-}" ]; then
	cp "$TEST" "$root/test"
else
	(cd "$here/.." && CGO_ENABLED=0 go test -c -o "$root/test" .)
fi
printf '%s\n' "${@:--test.v}" >"$root/arguments"
mkdir "$root/dev" "$root/files"
if [ -n "${FILES:-}" ]; then
	cp -R "$FILES/." "$root/files"
fi
(cd "$root" && find . | cpio --quiet -o -H newc) | gzip -1 >"$disk/initrd"

cp "$kernel" "$disk/vmlinuz"
cp "$isolinux" "$disk/isolinux.bin"
cp "$ldlinux" "$disk/ldlinux.c32"
# The emulated clock is not what the processor's identification says. Without fsrm, because Linux
# takes it for a promise that the processor gives by a register that Bochs does not have.
cat >"$disk/isolinux.cfg" <<END
default linux
label linux
	kernel vmlinuz
	append initrd=initrd console=ttyS0 quiet tsc_early_khz=$((${IPS:-50000000} / 1000)) mitigations=off nokaslr clearcpuid=fsrm panic=-1
END
xorriso -as mkisofs -quiet -o "$work/disk.iso" -b isolinux.bin -c boot.cat \
	-no-emul-boot -boot-load-size 4 -boot-info-table "$disk"

cat >"$work/bochsrc" <<END
display_library: nogui
megs: 1024
cpu: model=${MODEL:-sapphire_rapids}, count=1, ips=${IPS:-50000000}, reset_on_triple_fault=0
romimage: file=$bios
vgaromimage: file=$vgabios
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/disk.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
clock: sync=none, time0=utc
log: $work/log
panic: action=fatal
error: action=ignore
info: action=ignore
END
"$bochs" -q -f "$work/bochsrc" >"$work/screen" 2>&1 </dev/null &
emulator=$!
trap 'kill $emulator 2>/dev/null || true; rm -rf "$work"' EXIT
touch "$work/serial"
tail -n +1 -f --pid=$emulator "$work/serial" | sed -u "s/\r$//"
wait $emulator || true
if ! grep -q '^outcome: passed' "$work/serial"; then
	tail -n 5 "$work/screen" "$work/log" >&2
	exit 1
fi
