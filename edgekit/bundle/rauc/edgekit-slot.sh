#!/bin/sh
# Two slots with a release each: which one is active, and whether a new one is good. Written by
# `edgekit bundle device-files`; called by systemd (start, mark-good, service) and by RAUC as its custom bootloader
# backend (get-primary, set-primary, get-state, set-state, get-current) and, without arguments, after an installation.
#
# No bootloader boots a model: `start`, before the application, does what one would do. A slot that RAUC wrote has
# three attempts to prove itself. One is used up before its golden vectors run, so that a model which takes the machine
# down is left, too. `mark-good`, beside the application, asks it, and takes back a release that it is not healthy with.
set -eu
umask 022

SLOT_A='@slot_a@'
SLOT_B='@slot_b@'
ROOT='@root@'
COMPATIBLE='@compatible@'
RUN='@run@'
RAUC_CONF='@configuration@/system.conf'
ATTEMPTS=3

UNTOLD=$RUN/untold      # there while applications that ran before may see another slot
STATE=$ROOT/slots/state # three lines, replaced by one rename: primary=A|B, A=..., B=... (good, bad or attempts left)

say() { echo "edgekit-slot: $*" >&2; }

usage() {
    say "usage: edgekit-slot start | mark-good | service | get-current | get-primary | set-primary SLOT"
    say "       edgekit-slot get-state SLOT | set-state SLOT good|bad"
    exit 2
}

slot() { # an argument that must be a slot
    case ${1:-} in A | B) ;; *) usage ;; esac
}

device() { if [ "$1" = A ]; then echo "$SLOT_A"; else echo "$SLOT_B"; fi; }

other() { if [ "$1" = A ]; then echo B; else echo A; fi; }

get() { # a line of the state; a device without one has never had a release
    value=$(sed -n "s/^$1=//p" "$STATE" 2>/dev/null) || value=
    case $1=$value in
        primary=A | primary=B | [AB]=good | [AB]=bad | [AB]=[0-9]) echo "$value" ;;
        primary=*) echo A ;;
        *) echo bad ;;
    esac
}

put() { # primary A B
    mkdir -p "$ROOT/slots" && printf 'primary=%s\nA=%s\nB=%s\n' "$1" "$2" "$3" >"$STATE.new" && sync &&
        mv -f "$STATE.new" "$STATE" && sync
}

set_slot() { # SLOT VALUE
    if [ "$1" = A ]; then put "$(get primary)" "$2" "$(get B)"; else put "$(get primary)" "$(get A)" "$2"; fi
}

set_primary() { # SLOT VALUE
    if [ "$1" = A ]; then put A "$2" "$(get B)"; else put B "$(get A)" "$2"; fi
}

current() { # the slot that applications see
    case $(readlink "$RUN/current" 2>/dev/null) in "$RUN/A") echo A ;; "$RUN/B") echo B ;; *) return 1 ;; esac
}

mounted() { grep -qF " $(readlink -f "$RUN/$1") " /proc/mounts; } # the kernel names no link, such as /var/run

attach() { # SLOT
    if mounted "$1"; then return 0; fi
    mkdir -p "$RUN/$1"
    mount -t ext4 -o ro,nodev,nosuid,noexec "$(device "$1")" "$RUN/$1"
}

detach() { # SLOT; applications that still hold it keep it, and RAUC then refuses to write it
    if mounted "$1"; then umount "$RUN/$1" || umount -l "$RUN/$1"; fi
}

release() { # SLOT STEP...
    folder=$RUN/$1
    shift
    sh "$folder/install.sh" "$@" --root "$ROOT" --target "$COMPATIBLE" </dev/null
}

show() { # SLOT: one rename, so that applications see one release or the other
    ln -sfn "$RUN/$1" "$RUN/current.new"
    mv -fT "$RUN/current.new" "$RUN/current"
}

attempt() { # SLOT: whether applications may see it: good; or whole, for this device, not below the floor, vectors right
    case $(get "$1") in
        good)
            if attach "$1"; then return 0; fi
            say "slot $1 cannot be mounted" # nothing is said of its release: it may be another time
            return 1
            ;;
        bad) return 1 ;;
        [1-9])
            if ! set_slot "$1" $(($(get "$1") - 1)); then
                say "$STATE cannot be written: slot $1 is not tried, which could be without an end"
                return 1
            fi
            if attach "$1" && release "$1" --check; then return 0; fi
            ;;
    esac
    reject "$1"
    return 1
}

reject() { # SLOT that no application sees
    say "the release in slot $1 is not good here; the slot is marked bad"
    detach "$1"
    set_slot "$1" bad
}

keep_primary() { # SLOT, which is good
    if [ "$(get primary)=$(get "$1")" != "$1=good" ]; then set_primary "$1" good || say "$STATE cannot be written"; fi
}

start() {
    mkdir -p "$RUN"
    before=$(current) || before=
    first=$(get primary)
    for name in "$first" "$(other "$first")"; do
        if attempt "$name"; then
            if [ -n "$before" ] && [ "$before" != "$name" ]; then : >"$UNTOLD"; fi
            show "$name"
            say "slot $name is active"
            if [ "$(get "$name")" = good ]; then keep_primary "$name"; fi
            return 0
        fi
    done
    rm -f "$RUN/current"
    say "no slot has a good release; install one: rauc install BUNDLE"
}

mark_good() {
    name=$(current) || return 0
    case $(get "$name") in
        good) if [ -e "$UNTOLD" ]; then tell "$name"; fi ;; # it became active again while applications ran
        bad) return 0 ;;                                    # marked by hand; it is left at the next start
        *)
            if ! { release "$name" --activated "$RUN/current" && release "$name" --confirm; }; then
                fall_back "$name"
                return 1
            fi
            set_primary "$name" good || say "$STATE cannot be written"
            say "slot $name is good"
            ;;
    esac
    rm -f "$UNTOLD"
    detach "$(other "$name")"
}

fall_back() { # SLOT that applications see, to the other one
    say "the release in slot $1 is not good here; the slot is marked bad"
    set_slot "$1" bad || say "$STATE cannot be written"
    left=$1 again=$(other "$1")
    if [ "$(get "$again")" = good ] && attach "$again"; then
        : >"$UNTOLD" # until it is told: killed before that, the next mark-good does it
        show "$again"
        say "slot $again is active again"
        keep_primary "$again"
        tell "$again"
    else
        rm -f "$RUN/current"
        say "no slot has a good release; install one: rauc install BUNDLE"
        tell "$left"
    fi
    rm -f "$UNTOLD"
    detach "$left"
}

tell() { # SLOT whose command tells the application what it sees now; no answer of it decides anything
    release "$1" --fallen-back "$RUN/current" || say "the application was not told"
}

take_back() { # SLOT that was marked bad by hand; a service that says good at every boot proves nothing
    case $(get "$1")=$(current || true) in
        good=*) ;;
        "bad=$1") set_slot "$1" good ;;
        *)
            say "slot $1 is not good before it was proven; rauc status mark-active gives it $ATTEMPTS attempts"
            return 1
            ;;
    esac
}

installed() { # RAUC's installation fails where this does, and so does what the server is told that sent the release
    name=$(other "$(current || echo A)")
    if attach "$name" && release "$name" --check; then
        detach "$name" # its attempts are all left: it proves itself once more where applications start with it
        return 0
    fi
    reject "$name"
    if [ "$(get "$(other "$name")")" = good ]; then keep_primary "$(other "$name")"; fi
    return 1
}

case ${1:-${RAUC_TARGET_SLOTS:+installed}} in
    installed) installed ;;
    start) start ;;
    mark-good) mark_good ;;
    service) exec rauc --conf "$RAUC_CONF" service --override-boot-slot="$(current || echo A)" ;;
    get-primary) get primary ;;
    get-current) current || echo A ;;
    set-primary) slot "${2:-}" && set_primary "$2" $ATTEMPTS ;;
    get-state) slot "${2:-}" && if [ "$(get "$2")" = good ]; then echo good; else echo bad; fi ;;
    set-state)
        slot "${2:-}"
        case ${3:-} in good) take_back "$2" ;; bad) set_slot "$2" bad ;; *) usage ;; esac
        ;;
    *) usage ;;
esac
