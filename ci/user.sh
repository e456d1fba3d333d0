#!/usr/bin/env bash
# Runs a command of cargo as an ordinary user with the limits that most systems give: 1024 descriptors,
# which a program may raise, and 8 MiB of locked memory.
# Usage: ci/user.sh COMMAND [ARGUMENT...]. As root it needs leave to mount; a user it runs as itself.
#
# Where root runs this, everything may be root's, and closed to others. So the command has mounts of its
# own: a copy of the sources that is the user's, where the sources are, and the way to the toolchain and the
# crates. They stay in their places, for what moves is compiled again. The target folder is the user's
# meanwhile. The user is nobody else, as locked memory is charged to users.
source "$(dirname "$0")/lib.sh"

limits() {
    local locked
    locked=$(ulimit -Hl)
    [[ $locked != unlimited ]] && ((locked < 8192)) || ulimit -l 8192
    ulimit -Sn 1024
}

if ((EUID != 0)); then
    limits
    "$@"
    exit
fi
if [[ ${RINGPARK_CI_MOUNTS-} != own ]]; then
    RINGPARK_CI_MOUNTS=own exec unshare --mount --propagation private "$0" "$@"
fi

user=20001
as_user=(setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all)

# open_way FOLDER DESCRIPTOR: the folder is open as this descriptor. A folder on the way there that the
# user may not enter is replaced by one with the way and no more.
open_way() {
    local part path=''
    local -a parts
    IFS=/ read -ra parts <<<"${1#/}"
    for part in "${parts[@]}"; do
        path+=/$part
        [[ -d $path ]] || break
        if ! "${as_user[@]}" test -x "$path"; then
            mount -t tmpfs -o mode=755 ringpark-ci "$path"
            break
        fi
    done
    if [[ ! $1 -ef /proc/self/fd/$2 ]]; then
        mkdir -p "$1"
        mount --no-canonicalize --rbind "/proc/self/fd/$2" "$1"
    fi
}

export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
home=$work/home
mkdir -p "$target" "$home"
chmod 711 "$work"
target=$(cd "$target" && pwd)
folders=("$target" "$home")
for folder in "$CARGO_HOME" "$RUSTUP_HOME"; do
    [[ ! -d $folder ]] || folders+=("$folder")
done
descriptors=()
for folder in "${folders[@]}"; do
    exec {descriptor}<"$folder"
    descriptors+=("$descriptor")
done
exec {sources}<.
chown -R "$user:$user" "$target" "$home"
trap 'chown -R --reference="/proc/self/fd/$sources" "$target"; end_all' EXIT

open_way "$PWD" "$sources"
mount -t tmpfs -o "mode=755,uid=$user,gid=$user" ringpark-ci "$PWD"
tar -C "/proc/self/fd/$sources" --format=posix --exclude=./target --exclude=./.git -c . |
    tar -C "$PWD" --no-same-owner -x
chown -R "$user:$user" "$PWD"
for index in "${!folders[@]}"; do
    open_way "${folders[index]}" "${descriptors[index]}"
done
cd "$PWD"
(
    for descriptor in "${descriptors[@]}" "$sources"; do exec {descriptor}<&-; done
    limits
    HOME=$home exec "${as_user[@]}" env -u TMPDIR "$@"
)
